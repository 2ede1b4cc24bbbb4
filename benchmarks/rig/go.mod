module bridge/benchmarks/rig

go 1.19

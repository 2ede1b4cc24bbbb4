package main

import (
	"math"
	"syscall"
	"time"
	"unsafe"
)

const monotonic = 1 // CLOCK_MONOTONIC

var (
	started = time.Now()
	ahead   = calibrated()
)

// now returns CLOCK_MONOTONIC in nanoseconds: comparable between processes, and as cheap as
// time.Since, which reads the same clock from a beginning of its own.
func now() int64 { return ahead + int64(time.Since(started)) }

// calibrated returns the clock at the moment started, from the tightest of many readings.
func calibrated() int64 {
	best, tightest := int64(0), int64(math.MaxInt64)
	for i := 0; i < 500; i++ {
		before := kernel()
		since := int64(time.Since(started))
		after := kernel()
		if after-before < tightest {
			best, tightest = (before+after)/2-since, after-before
		}
	}
	return best
}

func kernel() int64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

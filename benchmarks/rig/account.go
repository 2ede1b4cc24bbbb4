package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// cost is what a stretch of time has cost whom: seconds of processor time.
type cost struct {
	moment                               int64
	subject, upstream, client, everybody float64
}

func costNow(subjects []int, upstream int) cost {
	c := cost{everybody: machine(), client: self(), moment: now()}
	for _, pid := range subjects {
		c.subject += process(pid)
	}
	if upstream > 0 {
		c.upstream = process(upstream)
	}
	return c
}

// process returns the seconds that the living threads of pid have run, to the nanosecond where
// the kernel's usual counters have ticks of ten milliseconds.
func process(pid int) float64 {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	total := 0.0
	for _, file := range files {
		var ran float64
		if text, err := os.ReadFile(file); err == nil {
			fmt.Sscan(string(text), &ran)
		}
		total += ran / 1e9
	}
	return total
}

// machine returns the seconds that all processors were busy, stolen ones included.
func machine() float64 {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	total := 0.0
	for i, word := range strings.Fields(line) {
		if i > 0 && i < 9 && i != 4 && i != 5 { // not idle, not waiting for a disk
			ticks, _ := strconv.ParseFloat(word, 64)
			total += ticks / 100
		}
	}
	return total
}

func self() float64 {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return float64(use.Utime.Nano()+use.Stime.Nano()) / 1e9
}

// memory returns the resident and the proportional megabytes of all pids together.
func memory(pids []int) (resident, proportional float64) {
	for _, pid := range pids {
		table := kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		resident += table["Rss"] / 1024
		proportional += table["Pss"] / 1024
	}
	return
}

// forgetPeaks lets the kernel's mark of the most memory ever resident begin again at what is now.
func forgetPeaks(pids []int) {
	for _, pid := range pids {
		os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}

func peak(pids []int) (total float64) {
	for _, pid := range pids {
		total += kilobytes(fmt.Sprintf("/proc/%d/status", pid))["VmHWM"] / 1024
	}
	return
}

func kilobytes(file string) map[string]float64 {
	table := map[string]float64{}
	f, err := os.Open(file)
	if err != nil {
		return table
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 3 && words[2] == "kB" {
			table[strings.TrimSuffix(words[0], ":")], _ = strconv.ParseFloat(words[1], 64)
		}
	}
	return table
}

// The fast ends of the benchmark: a scripted upstream, and a client that loads whatever is between.
//
//	rig upstream [-authority FILE]     serve on free ports until standard input ends
//	rig load -mode MODE [options]      measure once, print one JSON object
//
// Both are steered by run.py. A request may carry a script for its answer in one header:
//
//	X-Rig: EVENTS SIZE MICROSECONDS BATCH
//
// asks for a stream of EVENTS events of SIZE bytes, MICROSECONDS between two of them, BATCH to a
// write. Without it the answer is a small JSON object. Each event carries the moment of its
// sending, which the client compares with the same clock.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "upstream":
			upstream(os.Args[2:])
			return
		case "load":
			load(os.Args[2:])
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: rig upstream|load [options]")
	os.Exit(2)
}

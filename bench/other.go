//go:build !linux

package main

import (
	"errors"
	"os"
	"syscall"
)

var errOnlyLinux = errors.New("the benchmark reads the costs of processes from /proc and runs on Linux only")

func childAttributes() *syscall.SysProcAttr { return nil }

func onDisk(string) (bool, error) { return false, errOnlyLinux }

func diskUsage(string) (int64, error) { return 0, errOnlyLinux }

func dataSync(*os.File) error { return errOnlyLinux }

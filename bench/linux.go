//go:build linux

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// childAttributes lets no child outlive the benchmark, however that ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// onDisk says that a folder is on a disk, and not in memory, where a sync
// costs nothing.
func onDisk(dir string) (bool, error) {
	const tmpfs, ramfs = 0x01021994, 0x858458f6
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return false, err
	}
	return s.Type != tmpfs && s.Type != ramfs, nil
}

// diskUsage is what a folder takes on the disk, in bytes: files with holes
// take less than their size.
func diskUsage(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if os.IsNotExist(err) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return sum, err
}

// dataSync is fdatasync(2).
func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

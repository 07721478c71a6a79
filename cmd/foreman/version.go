package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// stamped is set by the linker in a release.
var stamped string

// version is the stamped one, else the module's, else "devel".
func version() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// versionText is what --version prints.
func versionText() string {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = ", revision " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				revision += " (modified)"
			}
		}
	}
	return fmt.Sprintf("foreman %s (%s, %s/%s%s)", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, revision)
}

package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symbolic links one path may go through, as for Linux.
const maxLinks = 40

// trail are the places where a change of one name can change what stands at
// path, which is absolute: each symbolic link on the way, and at its end the
// file, or else the first name that isn't there. The directories of all of
// them exist and have no link in their paths. A directory on the way that is
// itself renamed isn't among them: each would be watched up to the root.
func trail(path string) []string {
	var places []string
	at := filepath.VolumeName(path) + string(filepath.Separator)
	rest := names(path[len(filepath.VolumeName(path)):])
	for links := 0; len(rest) > 0 && links <= maxLinks; {
		place := filepath.Join(at, rest[0]) // of "..", the directory above
		rest = rest[1:]
		info, err := os.Lstat(place)
		switch {
		case err == nil && info.IsDir() && len(rest) > 0:
			at = place
			continue
		case err != nil || info.Mode()&fs.ModeSymlink == 0:
			return append(places, place)
		}
		links++
		places = append(places, place)
		to, err := os.Readlink(place)
		if err != nil {
			return places
		}
		if filepath.IsAbs(to) {
			at = filepath.VolumeName(to) + string(filepath.Separator)
		}
		rest = append(names(to[len(filepath.VolumeName(to)):]), rest...)
	}
	return places
}

func names(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
}

package core

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// An event has bounds, whatever a target lists and a caller asks for: one that
// no plugin takes would hold up those behind it. Lengths are in bytes.
// event.schema.json states them.
const (
	longestName     = 512 // of a model's name; no real one is longer
	longestSentence = 2 << 10
	longestText     = 4 << 10 // of any other string; a file's path isn't longer
	mostNames       = 100     // in a list
	mostListed      = 10      // names of one list in a sentence
)

// ShortName is a model's name as events tell it: whole, or its first part and
// an ellipsis, at most 512 bytes of valid UTF-8.
func ShortName(name string) string { return shorten(name, longestName) }

// shorten is s as valid UTF-8, cut to at most that many bytes.
func shorten(s string, most int) string {
	const ellipsis = "…"
	text := strings.ToValidUTF8(s[:min(len(s), most)], string(utf8.RuneError))
	if len(s) <= most && len(text) <= most {
		return text
	}
	end := min(len(text), most-len(ellipsis))
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}

// bounded is data, one of the Data types, with what somebody else may have
// worded cut.
func bounded(data any) any {
	switch d := data.(type) {
	case DegradedData:
		shortenAll(longestText, (*string)(&d.Reason), &d.Error)
		return d
	case TargetChangedData:
		shortenAll(longestText, &d.Was.Backend, &d.Was.URL, &d.Was.Version, &d.Now.Backend, &d.Now.URL, &d.Now.Version)
		return d
	case ModelData:
		d.Model = ShortName(d.Model)
		shortenAll(longestText, &d.Digest, &d.WasDigest)
		return d
	case ResidentData:
		d.Resident, d.Loaded, d.Unloaded = d.Resident.bounded(), d.Loaded.bounded(), d.Unloaded.bounded()
		return d
	case MissingData:
		d.Model, d.Near = ShortName(d.Model), d.Near.bounded()
		shortenAll(longestText, &d.Caller, &d.Route)
		return d
	case PluginData:
		shortenAll(longestText, &d.Plugin, &d.Kind, &d.Error)
		return d
	case ConfigReloadedData:
		d.Changed, d.NeedsRestart = d.Changed.bounded(), d.NeedsRestart.bounded()
		shortenAll(longestText, &d.File)
		return d
	case ConfigRejectedData:
		shortenAll(longestText, &d.File, &d.Key, &d.Problem)
		return d
	case JobData:
		d.Model = ShortName(d.Model)
		shortenAll(longestText, &d.JobID, (*string)(&d.State), &d.Path, &d.Caller, &d.Error)
		return d
	default:
		return data
	}
}

func shortenAll(most int, texts ...*string) {
	for _, text := range texts {
		*text = shorten(*text, most)
	}
}

// bounded is the first of n, each a [ShortName].
func (n Names) bounded() Names {
	var short Names
	for _, name := range n[:min(len(n), mostNames)] {
		short = append(short, ShortName(name))
	}
	return short
}

// listed is n as a sentence's part: a few of the names, and how many more
// there are.
func (n Names) listed() string {
	first := strings.Join(n[:min(len(n), mostListed)].bounded(), ", ")
	if len(n) <= mostListed {
		return first
	}
	return fmt.Sprintf("%s and %d more", first, len(n)-mostListed)
}

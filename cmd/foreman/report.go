package main

import (
	"encoding/xml"
	"strconv"
	"strings"
	"time"
)

// report writes what validate found in one of its formats.
func (e *env) report(r report, format string) error {
	switch format {
	case "json":
		return e.json(validateDocument(r))
	case "github":
		return e.lines(annotations(r.missing()))
	case "junit":
		return e.junit(r)
	default:
		return e.lines(verdictLines(r.verdicts))
	}
}

func verdictLines(verdicts []verdict) []string {
	lines := make([]string, len(verdicts))
	for i, v := range verdicts {
		switch {
		case v.installed != "":
			lines[i] = v.name + ": installed"
		case len(v.near) > 0:
			lines[i] = v.name + ": missing; did you mean " + strings.Join(v.near, ", ") + "?"
		default:
			lines[i] = v.name + ": missing"
		}
	}
	return lines
}

type verdictDocument struct {
	Name      string   `json:"name"`
	Installed bool     `json:"installed"`
	Resolved  string   `json:"resolved"`
	Near      []string `json:"near"`
}

func validateDocument(r report) any {
	models := make([]verdictDocument, len(r.verdicts))
	for i, v := range r.verdicts {
		models[i] = verdictDocument{v.name, v.installed != "", v.installed, append([]string{}, v.near...)}
	}
	return struct {
		document
		OK     bool              `json:"ok"`
		Models []verdictDocument `json:"models"`
	}{r.document(), r.ok(), models}
}

var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// annotations are GitHub's workflow commands, at the line of the file that
// names the model where there is one.
func annotations(missing []verdict) []string {
	lines := make([]string, len(missing))
	for i, v := range missing {
		properties := "title=" + githubProperty.Replace("Model '"+v.name+"' is missing")
		if v.file != "" {
			properties = "file=" + githubProperty.Replace(v.file) + ",line=" + strconv.Itoa(v.line) + "," + properties
		}
		lines[i] = "::error " + properties + "::" + githubData.Replace(v.sentence())
	}
	return lines
}

type junitSuite struct {
	XMLName   xml.Name    `xml:"testsuite"`
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      float64     `xml:"time,attr"` // seconds
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    float64       `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
}

// junit writes r as a test suite with a case for each name.
func (e *env) junit(r report) error {
	suite := junitSuite{
		Name: "foreman validate", Tests: len(r.verdicts), Failures: len(r.missing()),
		Time: r.took.Round(time.Millisecond).Seconds(), Timestamp: time.Now().UTC().Format("2006-01-02T15:04:05"),
	}
	for _, v := range r.verdicts {
		c := junitCase{Class: "models", Name: printable(v.name)}
		if v.installed == "" {
			c.Failure = &junitFailure{Type: "missing", Message: printable(v.sentence())}
		}
		suite.Cases = append(suite.Cases, c)
	}
	body, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return e.write([]byte(xml.Header + string(body) + "\n"))
}

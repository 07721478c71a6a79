package core_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-af7fee88/foreman/core"
)

// eventData is an example of each type's data.
var eventData = map[core.EventType]any{
	core.EventDegraded:        core.DegradedData{Reason: core.StatusReason(500), Error: "500"},
	core.EventRecovered:       core.RecoveredData{DegradedAt: noon, DegradedSeconds: 1.5},
	core.EventTargetChanged:   core.TargetChangedData{},
	core.EventModelAdded:      core.ModelData{Model: "a"},
	core.EventModelRemoved:    core.ModelData{Model: "a"},
	core.EventModelChanged:    core.ModelData{Model: "a", Digest: "1", WasDigest: "2"},
	core.EventResidentChanged: core.ResidentData{Resident: core.Names{"a"}},
	core.EventModelMissing:    core.MissingData{Model: "a"},
	core.EventPluginRestarted: core.PluginData{Plugin: "ollama"},
	core.EventConfigReloaded:  core.ConfigReloadedData{Changed: core.Names{"poll.interval"}},
	core.EventConfigRejected:  core.ConfigRejectedData{Line: 3},
	core.EventJobQueued:       core.JobData{},
	core.EventJobLoading:      core.JobData{},
	core.EventJobWorking:      core.JobData{},
	core.EventJobDone:         core.JobData{},
	core.EventJobFailed:       core.JobData{Error: "so it is", EndedAt: new(noon)},
	core.EventJobCancelled:    core.JobData{},
	core.EventTest:            struct{}{},
}

// A schema is as much of JSON Schema as event.schema.json says.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"` // a string or a list of them
	Const      *string            `json:"const"`
	Pattern    string             `json:"pattern"`
	Format     string             `json:"format"`
	Minimum    *float64           `json:"minimum"`
	MaxLength  *int               `json:"maxLength"`
	MaxItems   *int               `json:"maxItems"`
	Items      *schema            `json:"items"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	OneOf      []*schema          `json:"oneOf"`
	Defs       map[string]*schema `json:"$defs"`

	ID          string `json:"$id"`
	Dialect     string `json:"$schema"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

func eventSchema(t *testing.T) *schema {
	t.Helper()
	file, err := os.Open("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields() // validate would overlook them
	s := new(schema)
	if err := decoder.Decode(s); err != nil {
		t.Fatalf("event.schema.json: %v", err)
	}
	return s
}

// at follows a reference.
func (s *schema) at(root *schema) *schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return root.Defs[name]
	}
	return s
}

func (s *schema) types() []string {
	switch kind := s.Type.(type) {
	case string:
		return []string{kind}
	case []any:
		var kinds []string
		for _, k := range kind {
			kinds = append(kinds, k.(string))
		}
		return kinds
	}
	return nil
}

// check returns what is wrong with a decoded value.
func (s *schema) check(root *schema, where string, value any) error {
	if s.Ref != "" {
		return s.at(root).check(root, where, value)
	}
	if kinds := s.types(); kinds != nil && !slices.ContainsFunc(kinds, func(kind string) bool { return is(kind, value) }) {
		return fmt.Errorf("%s is %v, not of type %v", where, value, kinds)
	}
	switch value := value.(type) {
	case string:
		return s.checkString(where, value)
	case float64:
		if s.Minimum != nil && value < *s.Minimum {
			return fmt.Errorf("%s is %v", where, value)
		}
	case []any:
		var errs []error
		if s.MaxItems != nil && len(value) > *s.MaxItems {
			errs = append(errs, fmt.Errorf("%s has %d items", where, len(value)))
		}
		for i, item := range value {
			if s.Items != nil {
				errs = append(errs, s.Items.check(root, fmt.Sprintf("%s[%d]", where, i), item))
			}
		}
		return errors.Join(errs...)
	case map[string]any:
		return s.checkObject(root, where, value)
	}
	return nil
}

func (s *schema) checkString(where, value string) error {
	if s.Const != nil && value != *s.Const {
		return fmt.Errorf("%s is %q, not %q", where, value, *s.Const)
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(value) {
		return fmt.Errorf("%s is %q", where, value)
	}
	if s.MaxLength != nil && utf8.RuneCountInString(value) > *s.MaxLength {
		return fmt.Errorf("%s has %d bytes", where, len(value))
	}
	if s.Format == "date-time" {
		if _, err := time.Parse(time.RFC3339Nano, value); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return nil
}

func (s *schema) checkObject(root *schema, where string, value map[string]any) error {
	var errs []error
	for _, key := range s.Required {
		if _, has := value[key]; !has {
			errs = append(errs, fmt.Errorf("%s has no %s", where, key))
		}
	}
	for key, property := range s.Properties {
		if v, has := value[key]; has {
			errs = append(errs, property.check(root, where+"."+key, v))
		}
	}
	if s.OneOf != nil {
		var wrong []error
		for _, one := range s.OneOf {
			if err := one.check(root, where, value); err != nil {
				wrong = append(wrong, err)
			}
		}
		if fits := len(s.OneOf) - len(wrong); fits != 1 {
			errs = append(errs, fmt.Errorf("%s fits %d of the types: %w", where, fits, errors.Join(wrong...)))
		}
	}
	return errors.Join(errs...)
}

func is(kind string, value any) bool {
	switch value := value.(type) {
	case nil:
		return kind == "null"
	case string:
		return kind == "string"
	case bool:
		return kind == "boolean"
	case float64:
		return kind == "number" || kind == "integer" && value == float64(int64(value))
	case []any:
		return kind == "array"
	default:
		return kind == "object"
	}
}

// validate holds the event's JSON against event.schema.json.
func validate(t *testing.T, event any) error {
	t.Helper()
	raw, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	root := eventSchema(t)
	return root.check(root, "event", value)
}

func withID(event core.Event) core.Event {
	event.ID = "01KAR8Y3W00123456789ABCDEF"
	return event
}

// TestSchemaAgreesWithTypes compares the schema with the Go types field by
// field, so that neither can gain or lose one alone.
func TestSchemaAgreesWithTypes(t *testing.T) {
	root := eventSchema(t)
	agree(t, root, root, reflect.TypeFor[core.Event](), "event")
	var described []core.EventType
	for _, one := range root.OneOf {
		kind := core.EventType(*one.Properties["type"].Const)
		described = append(described, kind)
		if data, known := eventData[kind]; known {
			agree(t, root, one.Properties["data"], reflect.TypeOf(data), string(kind))
		}
	}
	if diff := cmp.Diff(core.EventTypes(), described); diff != "" {
		t.Errorf("types (-code +schema):\n%s", diff)
	}
	if got, want := len(eventData), len(core.EventTypes()); got != want {
		t.Errorf("%d types have data, of %d", got, want)
	}
}

// agree compares s with what a Go type's JSON is.
func agree(t *testing.T, root, s *schema, goType reflect.Type, where string) {
	t.Helper()
	s = s.at(root)
	if s == nil {
		t.Errorf("%s is described nowhere", where)
		return
	}
	want := []string{}
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
		want = append(want, "null")
	}
	switch {
	case goType == reflect.TypeFor[time.Time]():
		want = append(want, "string")
		if s.Format != "date-time" {
			t.Errorf("%s: format is %q", where, s.Format)
		}
	case goType == reflect.TypeFor[json.RawMessage]():
		want = append(want, "object")
	case goType.Kind() == reflect.Struct:
		want = append(want, "object")
		agreeOnFields(t, root, s, goType, where)
	case goType.Kind() == reflect.Slice:
		want = append(want, "array")
		agree(t, root, s.Items, goType.Elem(), where+"[]")
	case goType.Kind() == reflect.String:
		want = append(want, "string")
	case goType.Kind() == reflect.Float64:
		want = append(want, "number")
	default:
		want = append(want, "integer")
	}
	got := s.types()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: type (-code +schema):\n%s", where, diff)
	}
}

func agreeOnFields(t *testing.T, root, s *schema, goType reflect.Type, where string) {
	t.Helper()
	fields := []string{}
	for field := range goType.Fields() {
		name := field.Tag.Get("json") // without options: each field is always there
		fields = append(fields, name)
		if s.Properties[name] == nil {
			t.Errorf("%s.%s isn't described", where, name)
			continue
		}
		agree(t, root, s.Properties[name], field.Type, where+"."+name)
	}
	slices.Sort(fields)
	if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(s.Properties)), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: fields (-code +schema):\n%s", where, diff)
	}
	if diff := cmp.Diff(fields, slices.Sorted(slices.Values(s.Required)), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: required (-code +schema):\n%s", where, diff)
	}
}

func TestEventsFitTheSchema(t *testing.T) {
	for kind, data := range eventData {
		if err := validate(t, withID(core.NewEvent(kind, time.Now(), "http://a:1", "so it is", data))); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for name, breakIt := range map[string]func(event, data map[string]any){
		"no id":            func(event, _ map[string]any) { delete(event, "id") },
		"a lower-case id":  func(event, _ map[string]any) { event["id"] = "01kar8y3w00123456789abcdef" },
		"a type too many":  func(event, _ map[string]any) { event["type"] = "exploded" },
		"another's data":   func(event, _ map[string]any) { event["type"] = "recovered" },
		"no data":          func(event, _ map[string]any) { event["data"] = nil },
		"no moment":        func(event, _ map[string]any) { event["at"] = "noon" },
		"nothing failed":   func(_, data map[string]any) { data["failures"] = -1 },
		"a reason in vain": func(_, data map[string]any) { data["reason"] = "For no reason" },
		"folded to none":   func(_, data map[string]any) { data["folded"] = 0 },
		"an endless line":  func(event, _ map[string]any) { event["sentence"] = strings.Repeat("x", 2049) },
	} {
		data := map[string]any{"reason": "refused", "error": "", "failures": 3, "last_success": nil, "reminder": true, "folded": 2}
		event := map[string]any{
			"id": "01KAR8Y3W00123456789ABCDEF", "type": "degraded", "at": noon, "target": "", "sentence": "", "data": data,
		}
		if err := validate(t, event); err != nil {
			t.Fatal(err)
		}
		if breakIt(event, data); validate(t, event) == nil {
			t.Errorf("an event with %s fits the schema", name)
		}
	}
}

func TestNewEvent(t *testing.T) {
	at := time.Date(2026, 11, 23, 14, 0, 0, 123456789, time.FixedZone("", 2*60*60))
	got := core.NewEvent(core.EventTest, at, "http://a:1", "two\nlines, \x1b[31mred\u202e", nil)
	want := core.Event{
		Type: core.EventTest, At: time.Date(2026, 11, 23, 12, 0, 0, 123e6, time.UTC), Target: "http://a:1",
		Sentence: "two lines,  [31mred ", Data: json.RawMessage(`{}`),
	}
	if diff := cmp.Diff(want, got, compareRaw); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if missing := core.NewEvent(core.EventModelMissing, at, "", "", core.MissingData{}); !strings.Contains(string(missing.Data), `"near":[]`) {
		t.Errorf("near is null: %s", missing.Data)
	}
}

func TestEventTypesMatchPatterns(t *testing.T) {
	for _, tt := range []struct {
		patterns []string
		want     []core.EventType
	}{
		{nil, nil},
		{[]string{"degraded"}, []core.EventType{core.EventDegraded}},
		{[]string{"job_*ed", "tes?"}, []core.EventType{core.EventJobQueued, core.EventJobFailed, core.EventJobCancelled, core.EventTest}},
		{[]string{"[", "model_[ac]*", "model_added"}, []core.EventType{core.EventModelAdded, core.EventModelChanged}},
		{[]string{"*"}, core.EventTypes()},
		{[]string{"degrade", "Degraded", "", "*/*"}, nil},
	} {
		var got []core.EventType
		for _, kind := range core.EventTypes() {
			if kind.Matches(tt.patterns...) {
				got = append(got, kind)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.patterns, diff)
		}
	}
}

func TestJobEvents(t *testing.T) {
	for _, tt := range []struct {
		state       core.JobState
		error, want string
	}{
		{core.JobQueued, "", "job J for a:1b is queued"},
		{core.JobQueued, "connection refused", "job J for a:1b is queued again: connection refused"},
		{core.JobLoading, "", "job J for a:1b is loading"},
		{core.JobWorking, "", "job J for a:1b is working"},
		{core.JobDone, "connection refused", "job J for a:1b is done"},
		{core.JobFailed, "status 500", "job J for a:1b has failed: status 500"},
		{core.JobCancelled, "", "job J for a:1b was cancelled"},
	} {
		job := core.Job{ID: "J", Model: "a:1b", State: tt.state, Error: tt.error, Attempt: 2, CreatedAt: noon}
		event := core.NewJobEvent(job, noon, "http://a:1")
		if event.Sentence != tt.want || !slices.Contains(core.EventTypes(), event.Type) || string(event.Type) != "job_"+string(tt.state) {
			t.Errorf("%s: %s: %q, want %q", tt.state, event.Type, event.Sentence, tt.want)
		}
		if err := validate(t, withID(event)); err != nil {
			t.Error(err)
		}
	}
}

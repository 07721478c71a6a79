package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Decode reads a plugin's settings into the struct that into points to;
// settings that are empty mean {}. It refuses a key that the struct has no
// field for, which is somebody's typing error. Its error is a sentence for the
// user, to be returned by Configure.
func Decode(settings json.RawMessage, into any) error {
	settings = bytes.TrimSpace(settings)
	if len(settings) == 0 {
		return nil
	}
	if settings[0] != '{' {
		return errors.New("settings: want a table")
	}
	decoder := json.NewDecoder(bytes.NewReader(settings))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); err == io.EOF {
			return nil
		}
		return errors.New("settings: more than one JSON object")
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("settings: %s: want %s, not %s", wrong.Field, wrong.Type, wrong.Value)
	}
	return errors.New("settings: " + strings.TrimPrefix(err.Error(), "json: "))
}

package state

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"bottle/pkg/bottle"
	"bottle/pkg/spool"
)

// withUnknown indents a bottle's metadata and adds to them the fields of those in
// dir that this version does not know.
func withUnknown(dir string, metadata []byte) ([]byte, error) {
	old := map[string]json.RawMessage{}
	if data, err := spool.ReadFile(dir, MetadataFile, maxMetadata); err != nil || json.Unmarshal(data, &old) != nil {
		clear(old) // nothing is there, or nothing that can be read
	}
	maps.DeleteFunc(old, func(name string, _ json.RawMessage) bool { return known[strings.ToLower(name)] })
	whole := bytes.TrimSuffix(metadata, []byte("}"))
	for _, name := range slices.Sorted(maps.Keys(old)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		whole = slices.Concat(whole, []byte(","), key, []byte(":"), old[name])
	}
	var out bytes.Buffer
	err := json.Indent(&out, append(whole, '}'), "", "  ")
	return out.Bytes(), err
}

// known are the fields of a Bottle, in lower case: so they are read.
var known = func() map[string]bool {
	names := map[string]bool{}
	t := reflect.TypeFor[bottle.Bottle]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[strings.ToLower(name)] = true
	}
	return names
}()

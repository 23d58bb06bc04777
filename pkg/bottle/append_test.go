package bottle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// reference is what encoding/json makes of an event.
func reference(t *testing.T, e Event) string {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func same(t *testing.T, e Event) {
	t.Helper()
	if got, want := string(e.AppendJSON(nil))+"\n", reference(t, e); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Each field alone, and all of them: one that is added and forgotten here fails.
func TestEventsAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	all := Event{}
	fields := reflect.ValueOf(&all).Elem()
	for i := range fields.NumField() {
		one := Event{}
		for _, v := range []reflect.Value{fields.Field(i), reflect.ValueOf(&one).Elem().Field(i)} {
			switch v.Interface().(type) {
			case string:
				v.SetString(fmt.Sprintf("text <%d> & \"quoted\" \\ \u2028 \x7f \x00 é \xff", i))
			case float64:
				v.SetFloat(1234.567)
			case time.Time:
				v.Set(reflect.ValueOf(time.Date(2026, 11, 24, 20, 0, 0, 120_000_000, time.UTC)))
			default:
				v.SetInt(int64(1000 + i))
			}
		}
		same(t, one)
	}
	same(t, all)
	same(t, Event{})
}

func FuzzEvent(f *testing.F) {
	f.Add("request", "a.example", "/x", int64(1), 12.5)
	f.Add("\xff\n", "é\u2029", "</x>\"\\\b\f\t", int64(-1), 0.001)
	f.Fuzz(func(t *testing.T, kind, host, path string, n int64, ms float64) {
		ms = float64(int64(ms*1000)%1e9) / 1000 // microseconds, as they are measured
		same(t, Event{Time: time.Unix(n%1e9, rand.Int64N(1e9)).UTC(), Kind: kind, Host: host, Path: path, Sent: n, Recv: -n, Port: int(n), Millis: ms})
	})
}

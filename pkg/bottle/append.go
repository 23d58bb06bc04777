package bottle

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// AppendJSON appends the event as encoding/json writes it, without a line's end.
// A sidecar writes one a request, and reflection would cost as much of that as
// all of the judging.
func (e *Event) AppendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","source":`...)
	b = appendText(b, e.Source)
	b = append(b, `,"kind":`...)
	b = appendText(b, e.Kind)
	b = textField(b, `,"verdict":`, e.Verdict)
	b = textField(b, `,"reason":`, e.Reason)
	b = textField(b, `,"rule":`, e.Rule)
	b = textField(b, `,"method":`, e.Method)
	b = textField(b, `,"scheme":`, e.Scheme)
	b = textField(b, `,"host":`, e.Host)
	b = numberField(b, `,"port":`, int64(e.Port))
	b = textField(b, `,"path":`, e.Path)
	b = numberField(b, `,"status":`, int64(e.Status))
	b = numberField(b, `,"sent":`, e.Sent)
	b = numberField(b, `,"received":`, e.Recv)
	b = millisField(b, `,"ms":`, e.Millis)
	b = millisField(b, `,"held_ms":`, e.Held)
	b = textField(b, `,"finding":`, e.Finding)
	b = textField(b, `,"where":`, e.Where)
	b = textField(b, `,"fingerprint":`, e.Fingerprint)
	b = textField(b, `,"refs":`, e.Refs)
	b = numberField(b, `,"objects":`, e.Objects)
	b = textField(b, `,"detail":`, e.Detail)
	return append(b, '}')
}

func textField(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(append(b, key...), s)
}

func numberField(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), n, 10)
}

func millisField(b []byte, key string, ms float64) []byte {
	if ms == 0 {
		return b
	}
	return strconv.AppendFloat(append(b, key...), ms, 'f', -1, 64)
}

// appendText writes text that needs no escape itself, and leaves the rest to
// encoding/json.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(b, escaped(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func escaped(s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // text never fails
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

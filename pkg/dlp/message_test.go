package dlp

import (
	"encoding/base64"
	"strings"
	"testing"
)

// converse scans messages one after another and returns the first error, and the
// index of its message.
func converse(s *Scanner, messages ...string) (int, error) {
	var c Conversation
	for i, m := range messages {
		q := s.Message(Policy{Host: "a.example"}, "/chat", &c)
		b, err := q.Body("", "")
		if err == nil {
			if _, err = b.Write([]byte(m)); err == nil {
				err = b.Close()
			}
		}
		if err == nil {
			c.Sent(q)
		}
		q.Close()
		if err != nil {
			return i, err
		}
	}
	return -1, nil
}

// A value of the bottle's own is found whatever messages it is cut into.
func TestKnownSecretOverMessages(t *testing.T) {
	const value = "Zq7vT2mXw9Kp4RtB8nLc"
	s, err := New(Default(), []Known{{Name: "DEPLOY_KEY", Value: []byte(value)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(value))
	for name, messages := range map[string][]string{
		"whole":                 {"x", value},
		"two":                   {value[:9], value[9:]},
		"a byte each":           strings.Split(value, ""),
		"with empty ones":       {value[:5], "", "", value[5:]},
		"with line breaks":      {value[:7] + "\r\n", "\r\n" + value[7:]},
		"as JSON":               {`{"delta":"` + value[:6] + `"}`, `{"delta":"` + value[6:12] + `"}`, `{"delta":"` + value[12:] + `"}`},
		"in base64":             {encoded[:10], encoded[10:]},
		"two parts, far apart":  {"see " + value[:9], "something", `{"n":[1,2,3]}`, value[9:] + " is it"},
		"the second part first": {value[9:], "and", value[:9]},
		"behind much":           {strings.Repeat("all is well. ", 40_000) + value[:9], value[9:]},
	} {
		i, err := converse(s, messages...)
		f, ok := err.(*Finding)
		if !ok || f.Rule != KnownRule || !strings.HasPrefix(f.Where, "message") {
			t.Errorf("%s: %v", name, err)
		} else if i != len(messages)-1 {
			t.Errorf("%s: found in message %d of %d", name, i+1, len(messages))
		}
	}
	if _, err := converse(s, value[:9], "Zq7vT2mXw", value[:9]+"-"); err != nil {
		t.Errorf("its beginning alone: %v", err)
	}
	// One conversation knows nothing of another.
	for _, half := range []string{value[:9], value[9:]} {
		if _, err := converse(s, half); err != nil {
			t.Errorf("half of it, in a connection of its own: %v", err)
		}
	}
}

func TestRulesHoldInMessages(t *testing.T) {
	s, err := New(Default(), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const key = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx"
	for message, where := range map[string]string{"see " + key: "message", `{"item":{"content":["a","` + key + `"]}}`: "message.item.content[1]"} {
		_, err := converse(s, "hello", message)
		if f, ok := err.(*Finding); !ok || f.Rule != "github-pat" || f.Where != where {
			t.Errorf("%s: %v", message, err)
		}
	}
}

// What a message shows while another is under way is not lost.
func TestMessageAmidAnother(t *testing.T) {
	const value = "Zq7vT2mXw9Kp4RtB8nLc"
	s, err := New(Default(), []Known{{Name: "DEPLOY_KEY", Value: []byte(value)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var c Conversation
	outer := s.Message(Policy{}, "/", &c)
	defer outer.Close()
	b, _ := outer.Body("", "")
	b.Write([]byte("hello"))
	inner := s.Message(Policy{}, "/", &c)
	ping, _ := inner.Body("", "")
	ping.Write([]byte(value[:9]))
	if err := ping.Close(); err != nil {
		t.Fatal(err)
	}
	c.Sent(inner)
	inner.Close()
	b.Close()
	c.Sent(outer)
	last := s.Message(Policy{}, "/", &c)
	defer last.Close()
	b, _ = last.Body("", "")
	b.Write([]byte(value[9:]))
	if err := b.Close(); err == nil {
		t.Error("half of it in a ping amid a message, and the rest in another, passed")
	}
}

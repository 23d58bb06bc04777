package bottle

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Secrets is the document that the host hands to a sidecar over the standard
// input of an exec: values by the names that the sidecar's policy has for them.
// It is written to no disk and no log.
type Secrets struct {
	Values map[string]string `json:"values"`
}

// MaxSecrets bounds the document, in bytes.
const MaxSecrets = 4 << 20

// ParseSecrets reads the document. Its errors hold nothing of it.
func ParseSecrets(data []byte) (Secrets, error) {
	var s Secrets
	if len(data) > MaxSecrets {
		return s, fmt.Errorf("the secrets have more than %d bytes", MaxSecrets)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return Secrets{}, errors.New("the secrets are not a JSON document of bottle's")
	}
	for name, value := range s.Values {
		if name == "" || value == "" {
			return Secrets{}, errors.New("the secrets hold an empty name or value")
		}
	}
	return s, nil
}

// String and GoString keep a value that is printed by mistake out of a log.
func (Secrets) String() string { return "(secrets)" }

// GoString is String.
func (s Secrets) GoString() string { return s.String() }

package bottle

import "time"

// ReloadSignal has egress read its policy again, as SIGHUP does. A sidecar that has
// just been started, and reads its files yet, is not ended by it: nobody who does not
// wait for it is.
const ReloadSignal = "WINCH"

// Applied is applied.json in a sidecar's out directory: which policy is in
// force, and what became of the last one that it read.
type Applied struct {
	Generation int64     `json:"generation"`      // grows with each policy that is put in force
	SHA256     string    `json:"sha256"`          // of the file in force, hexadecimal
	Time       time.Time `json:"time"`            // when it was put in force; RFC 3339, UTC, milliseconds
	Routes     int       `json:"routes"`          // routes and grants in it
	Tried      string    `json:"tried"`           // SHA-256 of the file that was read last
	Error      string    `json:"error,omitempty"` // why that one was refused
	Needs      []string  `json:"needs,omitempty"` // names of the values that it rests on and that are lacking
	// RenewAt is when the first of its values is as old as it may become; RFC
	// 3339, UTC. It goes on being used.
	RenewAt *time.Time `json:"renew_at,omitempty"`
	// Due are the values that age, by name: when each is as old as it may become.
	Due map[string]time.Time `json:"due,omitempty"`
	// Stale are the names of values that an upstream refused (401) since they were
	// handed over, sorted.
	Stale []string `json:"stale,omitempty"`
	// Silent says that the pipelock behind egress takes connections, or none, and
	// answers nothing.
	Silent bool `json:"silent,omitempty"`
}

package pipelock

import (
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// Lacks says what a file does not give to a policy that takes another's place, for
// people, a line each: nothing but the list follows a policy. A file that cannot be
// read gives everything; whoever changes it is told.
func Lacks(text []byte, before, after policy.Policy, now time.Time) (lines []string) {
	d, err := read(text)
	if err != nil {
		return nil
	}
	_, had := Hosts(before, now)
	_, left := Hosts(after, now)
	if left = Missing(had, left); len(left) > 0 {
		lines = append(lines, "pipelock's list cannot hold "+strings.Join(left, ", ")+": closed there")
	}
	if private := Missing(privateHosts(before), privateHosts(after)); len(private) > 0 {
		lines = append(lines, "pipelock leads to a private address only where its ssrf.ip_allowlist has it: add those of "+strings.Join(private, ", "))
	}
	ignored := d.ignoredHeaders()
	scanned := slices.DeleteFunc(InjectedHeaders(after, nil), func(h string) bool { return slices.Contains(ignored, h) })
	if len(scanned) > 0 {
		lines = append(lines, "pipelock scans what egress injects into "+strings.Join(scanned, ", ")+", and may refuse it: add that to its ignore_headers")
	}
	return lines
}

func privateHosts(p policy.Policy) (hosts []string) {
	for _, r := range p.Routes {
		if r.Private {
			hosts = append(hosts, r.Host)
		}
	}
	return sorted(hosts)
}

// ignoredHeaders are those that are not scanned, in lower case.
func (d *document) ignoredHeaders() (names []string) {
	section := d.value("request_body_scanning")
	if section == nil || section.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		if section.Content[i].Value != "ignore_headers" {
			continue
		}
		for _, n := range section.Content[i+1].Content {
			names = append(names, strings.ToLower(n.Value))
		}
	}
	return names
}

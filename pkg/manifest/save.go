package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// AddRoute returns a bottle's manifest with one more route, and the lines that it
// adds, "+" before each. Nothing else of the file changes: comments, order and
// spelling are the operator's. Where the route injects a credential, the manifest
// must have it already: with another route to that host, or under credentials.
func AddRoute(file []byte, r policy.Route) (added []byte, diff string, err error) {
	start, end, err := frontLines(file)
	if err != nil {
		return nil, "", err
	}
	lines := strings.SplitAfter(string(file), "\n")
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(strings.Join(lines[start:end], "")), &doc); err != nil {
		return nil, "", err
	}
	var root *yaml.Node
	if len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	node, err := routeNode(root, r)
	if err != nil {
		return nil, "", err
	}
	at, item, err := place(root, node, end-start)
	if err != nil {
		return nil, "", err
	}
	text := slices.Concat(lines[:start+at], item, lines[start+at:])
	added = []byte(strings.Join(text, ""))
	p, err := parseBottle("the manifest", added)
	if err != nil {
		return nil, "", err
	}
	if !slices.ContainsFunc(p.routes, func(o Route) bool {
		same := o.Route
		same.Auth.Credential, same.Auth.Refresh = r.Auth.Credential, r.Auth.Refresh
		return same.Equal(r) && o.Auth.Set() == r.Auth.Set()
	}) {
		return nil, "", errors.New("its egress.routes are not written in a way that one can be added to")
	}
	return added, "+" + strings.Join(item, "+"), nil
}

// frontLines are the first and the last line but one of the front matter.
func frontLines(file []byte) (start, end int, err error) {
	lines := bytes.Split(file, []byte("\n"))
	fence := func(l []byte) bool { return string(bytes.TrimRight(l, " \t\r")) == "---" }
	if len(lines) == 0 || !fence(lines[0]) {
		return 0, 0, errors.New("it has no front matter")
	}
	for i := 1; i < len(lines); i++ {
		if fence(lines[i]) {
			return 1, i, nil
		}
	}
	return 0, 0, errors.New("its front matter does not end")
}

// place says before which line of the front matter the route goes, and as what.
func place(root, route *yaml.Node, end int) (at int, lines []string, err error) {
	egress := value(root, "egress")
	routes := value(egress, "routes")
	block := func(n *yaml.Node) bool { return n != nil && n.Style&yaml.FlowStyle == 0 }
	wrap := func(key string, n *yaml.Node) *yaml.Node {
		return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: key}, n}}
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{route}}
	switch {
	case block(routes) && routes.Kind == yaml.SequenceNode && len(routes.Content) > 0:
		last := routes.Content[len(routes.Content)-1]
		at, lines = last.Line, nil
		at = max(at, lastLine(last))
		return at, indented(list, routes.Column-1), nil
	case routes == nil && block(egress) && egress.Kind == yaml.MappingNode && len(egress.Content) > 0:
		return lastLine(egress), indented(wrap("routes", list), egress.Content[0].Column-1), nil
	case egress == nil && (root == nil || block(root)):
		return end, indented(wrap("egress", wrap("routes", list)), 0), nil
	}
	return 0, nil, errors.New("its egress.routes are not written in a way that one can be added to: write them as a list, an item a line")
}

// lastLine is the last line that a node has.
func lastLine(n *yaml.Node) int {
	last := n.Line
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		last += strings.Count(n.Value, "\n") + 1
	}
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}

func indented(n *yaml.Node, by int) []string {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if enc.Encode(n) != nil {
		return nil // a tree of our own has no cycle
	}
	var lines []string
	for line := range strings.Lines(b.String()) {
		lines = append(lines, strings.Repeat(" ", by)+line)
	}
	return lines
}

// routeNode is a route as it stands in a manifest.
func routeNode(root *yaml.Node, r policy.Route) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, v *yaml.Node) {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, v)
	}
	plain := func(s string) *yaml.Node {
		v := &yaml.Node{}
		v.SetString(s)
		return v
	}
	words := func(list []string) *yaml.Node {
		v := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, s := range list {
			v.Content = append(v.Content, plain(s))
		}
		return v
	}
	add("host", plain(r.Host))
	if r.Scheme != policy.HTTPS {
		add("scheme", plain(r.Scheme))
	}
	if r.Port != policy.DefaultPort(r.Scheme) {
		add("port", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(r.Port)})
	}
	if len(r.Paths) > 0 {
		add("path_allowlist", words(r.Paths))
	}
	if len(r.Methods) > 0 {
		add("methods", words(r.Methods))
	}
	if r.Auth.Set() {
		auth, err := authNode(root, r)
		if err != nil {
			return nil, err
		}
		add("auth", auth)
	}
	if r.Private {
		add("private", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	}
	if r.RefuseForeign {
		add("foreign_credentials", plain("refuse"))
	}
	return n, nil
}

// authNode copies how the manifest itself injects the route's credential.
func authNode(root *yaml.Node, r policy.Route) (*yaml.Node, error) {
	egress := value(root, "egress")
	if c := value(value(egress, "credentials"), r.Auth.Credential); c != nil {
		auth := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for i := 0; i+1 < len(c.Content); i += 2 {
			if c.Content[i].Value != "hosts" {
				auth.Content = append(auth.Content, bare(c.Content[i]), bare(c.Content[i+1]))
			}
		}
		return auth, nil
	}
	if routes := value(egress, "routes"); routes != nil {
		for _, item := range routes.Content {
			host := value(item, "host")
			if host == nil {
				continue
			}
			name, err := policy.RouteHost(host.Value)
			if auth := value(item, "auth"); err == nil && name == r.Host && auth != nil && auth.Kind == yaml.MappingNode {
				same := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
				for _, c := range auth.Content {
					same.Content = append(same.Content, bare(c))
				}
				return same, nil
			}
		}
	}
	return nil, fmt.Errorf("it declares no credential for %s any more", r.Host)
}

// bare is a scalar without its comments.
func bare(n *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style}
}

// value finds a key of a mapping.
func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"gopkg.in/yaml.v3"

	"bottle/pkg/spool"
)

// Home is an opened $BOTTLE_HOME.
type Home struct {
	Dir    string // absolute
	ID     string // 16 hexadecimal digits
	Config Config
}

// Config is config.yaml. All keys are optional.
type Config struct {
	// SubnetPool is where bottles' networks come from, an IPv4 prefix of at
	// least a /20. Default 10.213.0.0/16.
	SubnetPool netip.Prefix `yaml:"subnet_pool"`
	// History is how much is kept of bottles that were stopped.
	History Retention
	// Proxy is a company's, through which all that leaves goes.
	Proxy Proxy
}

// Proxy is what config.yaml says of a proxy, unread: pkg/proxy knows what it means.
type Proxy struct {
	URL      string  // upstream_proxy
	TokenRef string  // proxy_token_ref
	Except   *string // no_proxy; nil: it does not say
	SSH      bool    // proxy_ssh
}

// Retention is how much of a history is kept: what is beyond either bound goes.
// 0 is no bound.
type Retention struct {
	Bottles int // so many, the newest. Default 200
	Days    int // not longer than this. Default 90
}

// DefaultRetention holds where config.yaml does not say.
var DefaultRetention = Retention{Bottles: 200, Days: 90}

// DefaultPool is far from what Docker, VPNs and home routers take.
var DefaultPool = netip.MustParsePrefix("10.213.0.0/16")

// Open opens dir, or $BOTTLE_HOME, or ~/.bottle, and makes what is missing. One
// that others may write is refused: whoever writes there decides what agents may.
func Open(dir string) (*Home, error) {
	dir, err := locate(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", dir, err)
	}
	if err := trusted(dir); err != nil {
		return nil, err
	}
	for _, sub := range []string{"bottles", "agents", "skills", "ca", "state", "history"} {
		path := filepath.Join(dir, sub)
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot make %s: %w", path, err)
		}
		check := private
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			check = trusted // what lies elsewhere has other directories above it
		}
		if err := check(path); err != nil {
			return nil, err
		}
	}
	h := &Home{Dir: dir}
	if h.ID, err = identity(dir); err != nil {
		return nil, err
	}
	h.Config, err = readConfig(filepath.Join(dir, "config.yaml"))
	return h, err
}

func locate(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv("BOTTLE_HOME")
	}
	if dir == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("cannot find your home directory: %w (set BOTTLE_HOME)", err)
		}
		dir = filepath.Join(user, ".bottle")
	}
	return filepath.Abs(dir)
}

// ErrOpen is the error of a directory that others may write.
var ErrOpen = errors.New("others may write it")

// trusted checks dir and every directory above it: who may rename a parent may
// put another $BOTTLE_HOME in its place.
func trusted(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("cannot resolve %s: %w", dir, err)
	}
	if err := private(real); err != nil {
		return err
	}
	for up := filepath.Dir(real); ; up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return fmt.Errorf("cannot look at %s: %w", up, err)
		}
		uid := int(info.Sys().(*syscall.Stat_t).Uid)
		sticky := info.Mode()&fs.ModeSticky != 0
		if info.Mode().Perm()&0o022 != 0 && !sticky || uid != 0 && uid != os.Getuid() {
			return fmt.Errorf("cannot trust %s: %s above it: %w; run chmod go-w %s", dir, up, ErrOpen, up)
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

// private checks one directory that must be the operator's own.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != os.Getuid() {
		return fmt.Errorf("cannot trust %s: it belongs to uid %d, and you are uid %d", dir, uid, os.Getuid())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("cannot trust %s: %w; run chmod 700 %s", dir, ErrOpen, dir)
	}
	return nil
}

// identity reads the home's id, or makes one. Of several makers one wins.
func identity(dir string) (string, error) {
	path := filepath.Join(dir, "id")
	for {
		data, err := spool.ReadFile(dir, "id", 64)
		if err == nil {
			id := strings.TrimSpace(string(data))
			if raw, err := hex.DecodeString(id); err != nil || len(raw) != 8 {
				return "", fmt.Errorf("%s does not hold 16 hexadecimal digits; remove it if no bottle of this home is left", path)
			}
			return id, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot read %s: %w", path, err)
		}
		if err := makeIdentity(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("cannot write %s: %w", path, err)
		}
	}
}

// makeIdentity links a whole file into place, so that a reader never sees half an id.
func makeIdentity(path string) error {
	names, err := lockNames(filepath.Dir(path), shared)
	if err != nil {
		return err
	}
	defer names.Unlock()
	raw := make([]byte, 8)
	rand.Read(raw)
	temp := filepath.Join(filepath.Dir(path), spool.TempPrefix+"id-"+hex.EncodeToString(raw))
	if err := spool.WriteFile(temp, []byte(hex.EncodeToString(raw)+"\n"), 0o600); err != nil {
		return err
	}
	defer os.Remove(temp)
	return os.Link(temp, path)
}

func readConfig(path string) (Config, error) {
	c := Config{SubnetPool: DefaultPool, History: DefaultRetention}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer f.Close()
	var file struct {
		SubnetPool string `yaml:"subnet_pool"`
		History    struct {
			Bottles *int `yaml:"bottles"`
			Days    *int `yaml:"days"`
		} `yaml:"history"`
		Proxy    string  `yaml:"upstream_proxy"`
		TokenRef string  `yaml:"proxy_token_ref"`
		Except   *string `yaml:"no_proxy"`
		SSH      bool    `yaml:"proxy_ssh"`
	}
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil && err.Error() != "EOF" {
		return c, configError(path, err)
	}
	c.Proxy = Proxy{URL: file.Proxy, TokenRef: file.TokenRef, Except: file.Except, SSH: file.SSH}
	if file.SubnetPool != "" {
		p, err := netip.ParsePrefix(file.SubnetPool)
		if err != nil || !p.Addr().Is4() || p.Bits() > 20 {
			return c, fmt.Errorf("%s: subnet_pool %q is not an IPv4 prefix of /20 or larger, such as %s", path, file.SubnetPool, DefaultPool)
		}
		c.SubnetPool = p.Masked()
	}
	for _, bound := range []struct {
		name string
		said *int
		is   *int
	}{{"bottles", file.History.Bottles, &c.History.Bottles}, {"days", file.History.Days, &c.History.Days}} {
		if bound.said == nil {
			continue
		}
		if *bound.said < 0 {
			return c, fmt.Errorf("%s: history.%s is %d; it is a number from 1 on, or 0 for no bound", path, bound.name, *bound.said)
		}
		*bound.is = *bound.said
	}
	return c, nil
}

// knownKeys are those of config.yaml, for who mistyped one.
const knownKeys = "subnet_pool, history: {bottles, days}, upstream_proxy, proxy_token_ref, no_proxy, proxy_ssh"

var unknownKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^line (\d+): field (.*) not found in type `) })

// configError says what the YAML parser complains of in the file's words, not in
// those of the program.
func configError(path string, err error) error {
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) && len(wrong.Errors) > 0 {
		if m := unknownKey().FindStringSubmatch(wrong.Errors[0]); m != nil {
			return fmt.Errorf("%s:%s: unknown key %q; known: %s", path, m[1], m[2], knownKeys)
		}
		return fmt.Errorf("cannot read %s: %s", path, wrong.Errors[0])
	}
	return fmt.Errorf("cannot read %s: %w", path, err)
}

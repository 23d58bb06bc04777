package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"bottle/pkg/image"
	"bottle/pkg/npm"
	"bottle/pkg/plan"
)

// images are the images of one bottle. Their tags are known before they exist.
type images struct {
	sidecar, tools, agent image.Build
	gate                  image.Build // no tag: the bottle has none
}

// planImages says which images are needed, from what lies on this machine.
func (m *Manager) planImages(s Spec) (images, error) {
	programs, gate, err := m.sidecarPrograms()
	if err != nil {
		return images{}, err
	}
	i := images{sidecar: image.Sidecar(programs), tools: toolsImage()}
	if hasGate(s) {
		if gate.Name == "" {
			return images{}, fmt.Errorf("cannot find %s in %s: run make build, or make install", gateProgram, m.Libexec)
		}
		i.gate = image.Gate(image.Base, gate, image.Owner{UID: os.Getuid(), GID: os.Getgid()}, plan.GateRepos)
	}
	var own []byte
	if path := s.Manifest.Dockerfile; path != "" {
		if own, err = os.ReadFile(path); err != nil {
			return images{}, fmt.Errorf("cannot read the agent's Dockerfile: %w", err)
		}
	}
	if own == nil && len(s.Agent.Steps()) == 0 {
		i.agent = i.tools
		return i, nil
	}
	if i.agent, err = image.Agent(i.tools.Tag, s.Agent, s.Manifest.Version, own); err != nil {
		return images{}, fmt.Errorf("cannot use %s: %w", s.Manifest.Dockerfile, err)
	}
	return i, nil
}

// gateProgram is in an image of its own, with git and ssh.
const gateProgram = "bottle-git-gate"

// toolsImage is what all agents' images stand on.
func toolsImage() image.Build {
	return image.Tools(image.Base, image.User{UID: plan.AgentUID, Home: plan.AgentHome, Work: plan.WorkDir})
}

// sidecarPrograms are the programs that go into the sidecars' image, and the
// gate's, which has one of its own. They are read when that is made: to know
// whether it is there, their names for it will do.
func (m *Manager) sidecarPrograms() (programs []image.File, gate image.File, err error) {
	dir := filepath.Join(m.Libexec, "sidecars")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, gate, fmt.Errorf("cannot find the sidecars' programs in %s: run make build, or make install", dir)
	}
	if err != nil {
		return nil, gate, fmt.Errorf("cannot find the sidecars' programs: %w", err)
	}
	for _, e := range entries {
		f, err := program(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, gate, fmt.Errorf("cannot read a sidecar's program: %w", err)
		}
		if e.Name() == gateProgram {
			gate = f
		} else {
			programs = append(programs, f)
		}
	}
	return programs, gate, nil
}

// makeImages makes what is missing, one start at a time: two would fetch and
// build the same.
func (u *bringUp) makeImages(ctx context.Context) error {
	haveSidecar, haveAgent, haveGate := false, false, true
	look := func(b image.Build, have *bool) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			*have, err = u.Engine.HasImage(ctx, b.Tag)
			return err
		}
	}
	looks := []func(context.Context) error{look(u.images.sidecar, &haveSidecar), look(u.images.agent, &haveAgent)}
	if u.images.gate.Tag != "" {
		looks = append(looks, look(u.images.gate, &haveGate))
	}
	if hasPipelock(u.spec) {
		looks = append(looks, func(ctx context.Context) error { return u.pipelockImage(ctx, u.spec.Manifest.Pipelock.Image) })
	}
	if err := together(ctx, looks...); err != nil {
		return err
	}
	if haveSidecar && haveAgent && haveGate && !u.spec.Rebuild {
		return nil
	}
	lock, err := u.Home.LockImages(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if !haveGate || !haveAgent || u.spec.Rebuild {
		if err := u.baseImage(ctx); err != nil {
			return err
		}
		end, err := u.openWay(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	return together(ctx, func(ctx context.Context) error { return u.build(ctx, u.images.sidecar) }, u.makeAgentImage, func(ctx context.Context) error {
		if haveGate {
			return nil
		}
		return u.build(ctx, u.images.gate)
	})
}

func (u *bringUp) makeAgentImage(ctx context.Context) error {
	has, err := u.Engine.HasImage(ctx, u.images.agent.Tag)
	if err != nil || has && !u.spec.Rebuild {
		return err
	}
	if err := u.build(ctx, u.images.tools); err != nil {
		return err
	}
	build := u.images.agent
	if build.Tag != u.images.tools.Tag {
		if build, err = u.provide(ctx, build); err != nil {
			return err
		}
	}
	if u.spec.Rebuild && has {
		return u.make(ctx, build.Anew(time.Now()))
	}
	return u.build(ctx, build)
}

// provide adds the agent's own program, fetched by npm, to its image. The version
// is that of its first package.
func (u *bringUp) provide(ctx context.Context, b image.Build) (image.Build, error) {
	packages, err := u.spec.Agent.Packages(runtime.GOARCH)
	if err != nil {
		return b, err
	}
	for i, p := range packages {
		if i == 0 {
			p.Version = u.spec.Manifest.Version
		}
		u.log.step("fetching %s", p.Name)
		path, version, err := npm.Fetch(ctx, npm.Wanted{Package: p.Name, Version: p.Version, Suffix: p.Suffix, File: p.File}, u.cacheDir(), u.spec.Way.Env, u.discreet())
		if err != nil {
			return b, u.discreetly(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return b, fmt.Errorf("cannot read what was fetched: %w", err)
		}
		if i > 0 {
			version = ""
		}
		b = b.Provide(version, image.File{Name: p.Into, Mode: 0o755, Size: info.Size(),
			Open: func() (io.ReadCloser, error) { return os.Open(path) }})
	}
	return b, nil
}

// cacheDir is where fetched programs are kept: the operator's cache.
func (m *Manager) cacheDir() string {
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "bottle")
	}
	return filepath.Join(m.Home.Dir, "cache")
}

// build builds an image that does not exist.
func (u *bringUp) build(ctx context.Context, b image.Build) error {
	has, err := u.Engine.HasImage(ctx, b.Tag)
	if err != nil || has {
		return err
	}
	return u.make(ctx, b)
}

// make builds an image; one of its name loses that name, and stays with the
// containers that were made of it.
func (u *bringUp) make(ctx context.Context, b image.Build) error {
	u.log.step("building image %s", b.Tag)
	content, stream := io.Pipe()
	go func() { stream.CloseWithError(b.Context(stream)) }()
	defer content.Close()
	return u.Engine.Build(ctx, b.Tag, content, u.way, u.log)
}

// baseImageGrace is how long the base image's script clears up when interrupted.
const baseImageGrace = 15 * time.Second

// baseImage makes the agents' base by the script that is installed beside the
// programs.
func (u *bringUp) baseImage(ctx context.Context) error {
	has, err := u.Engine.HasImage(ctx, image.Base)
	if err != nil || has {
		return err
	}
	u.log.step("making the base image; this is done once, and takes a minute or two")
	cmd := exec.CommandContext(ctx, filepath.Join(u.Libexec, "base-image"), image.Base)
	said := u.discreet()
	cmd.Stdout, cmd.Stderr, cmd.Env = said, said, append(os.Environ(), u.spec.Way.Env...)
	// It clears up when it is told to end, and its children with it: one that was
	// killed alone would leave these, who hold its output.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = baseImageGrace
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot make the base image %s: %w", image.Base, err)
	}
	return nil
}

package enginetest

import "context"

// end is called with the lock held.
func (f *Fake) end(c *fakeContainer) {
	if c.state == "running" {
		c.state = "exited"
		close(c.ended)
		f.tell(c, "die")
	}
}

func (f *Fake) Stop(_ context.Context, name string) error {
	if err := f.begin("Stop", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, err := f.find(name); err == nil {
		f.end(c)
	}
	return nil
}

func (f *Fake) Remove(_ context.Context, name string) error {
	if err := f.begin("Remove", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, err := f.find(name); err == nil {
		f.end(c)
		delete(f.containers, name)
	}
	return nil
}

func (f *Fake) Wait(ctx context.Context, name string) (int, error) {
	f.mu.Lock()
	c, err := f.find(name)
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	select {
	case <-c.ended:
		return c.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Ended is Wait: there is nothing to clear up behind a process.
func (f *Fake) Ended(ctx context.Context, name string) error {
	_, err := f.Wait(ctx, name)
	return err
}

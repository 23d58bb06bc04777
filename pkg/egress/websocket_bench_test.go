package egress

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// BenchmarkWebSocket sends messages of 1 KB of JSON back and forth, directly and
// through egress, TLS on every hop. The rounds alternate.
func BenchmarkWebSocket(b *testing.B) {
	w := newWorld(b)
	server := w.serve("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, data, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	}))
	ctx := context.Background()
	straight := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.s.pool.tls.RootCAs, ServerName: "a.example"}}}
	direct, _, err := websocket.Dial(ctx, "wss://"+server.Listener.Addr().String()+"/", &websocket.DialOptions{HTTPClient: straight})
	must(b, err)
	defer direct.CloseNow()
	through := w.joined("wss://a.example/")
	message := []byte(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
	run := func(conn *websocket.Conn, n int) time.Duration {
		start := time.Now()
		for range n {
			must(b, conn.Write(ctx, websocket.MessageText, message))
			_, _, err := conn.Read(ctx)
			must(b, err)
		}
		return time.Since(start)
	}
	const rounds = 4
	each := max(b.N/rounds, 20)
	run(direct, 20)
	run(through, 20)
	var bare, relayed time.Duration
	b.ResetTimer()
	for range rounds {
		bare += run(direct, each)
		relayed += run(through, each)
	}
	b.StopTimer()
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(rounds*each) }
	b.ReportMetric(us(bare), "direct-µs/message")
	b.ReportMetric(us(relayed), "µs/message")
}

// Command asker is an MCP client for tests, run in a bottle: it calls one tool
// and prints what comes, a line each: "progress TEXT", "answer TEXT" or "error
// TEXT", with line ends as \n.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() { os.Exit(run(os.Args[1:])) }

// run takes the server's URL, the tool and its arguments as JSON.
func run(args []string) int {
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: asker URL TOOL ARGUMENTS")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	said, err := ask(ctx, args[0], args[1], json.RawMessage(args[2]))
	if err != nil {
		tell("error", err.Error())
		return 1
	}
	tell("answer", said)
	return 0
}

func tell(kind, text string) { fmt.Println(kind, strings.ReplaceAll(text, "\n", `\n`)) }

func ask(ctx context.Context, url, tool string, arguments json.RawMessage) (string, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "asker", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { tell("progress", r.Params.Message) }})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, DisableStandaloneSSE: true, MaxRetries: -1}, nil)
	if err != nil {
		return "", err
	}
	defer session.Close()
	params := &mcp.CallToolParams{Name: tool, Arguments: arguments}
	params.SetProgressToken("asker")
	result, err := session.CallTool(ctx, params)
	if err != nil {
		return "", err
	}
	var said []string
	for _, c := range result.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			said = append(said, t.Text)
		}
	}
	if result.IsError {
		return "", fmt.Errorf("%s", strings.Join(said, "\n"))
	}
	return strings.Join(said, "\n"), nil
}

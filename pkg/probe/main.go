package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// maxTargets bounds what is read from standard input.
const maxTargets = 1 << 20

// Main reads Targets as JSON from in, runs the rows that args name (none: the
// self-test) and writes one Result a line, as JSON. It returns 0 where all
// walls stand, 1 where one does not, 2 where it was asked wrongly.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	var t Targets
	decoder := json.NewDecoder(io.LimitReader(in, maxTargets))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&t); err != nil {
		fmt.Fprintf(errOut, "probe: cannot read the targets: %v\n", err)
		return 2
	}
	chosen := SelfTestRows()
	if len(args) > 0 {
		chosen = nil
	}
	for _, id := range args {
		row, err := find(id)
		if err != nil {
			fmt.Fprintf(errOut, "probe: %v\n", err)
			return 2
		}
		chosen = append(chosen, row)
	}
	return report(runRows(context.Background(), chosen, t), out, errOut)
}

func report(results []Result, out, errOut io.Writer) int {
	code := 0
	lines := json.NewEncoder(out)
	for _, r := range results {
		if err := lines.Encode(r); err != nil {
			fmt.Fprintf(errOut, "probe: cannot write: %v\n", err)
			return 1
		}
		if !r.OK {
			code = 1
		}
	}
	return code
}

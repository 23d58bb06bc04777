package gitgate

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"testing"
)

// raw is a pack's object of fewer than 2048 bytes, or what makes one of another,
// as a test likes it.
func raw(number byte, before string, data []byte) []byte {
	var b bytes.Buffer
	b.Write([]byte{0x80 | number<<4 | byte(len(data)&15), byte(len(data) >> 4)})
	b.WriteString(before)
	z := zlib.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// rawPack is a pack of such.
func rawPack(objects ...[]byte) []byte {
	data := binary.BigEndian.AppendUint32([]byte(packVersion), uint32(len(objects)))
	data = append(data, bytes.Join(objects, nil)...)
	sum := sha1.Sum(data)
	return append(data, sum[:]...)
}

// A delta that is shorter than git lets one be is left to git.
func TestADeltaThatIsTooShort(t *testing.T) {
	t.Parallel()
	data := rawPack(raw(3, "", []byte("text")), raw(refDelta, string(idOf(formatSHA1, "blob", []byte("text"))), []byte{4, 0}))
	if err := intake(t, formatSHA1).follow(t.Context(), bytes.NewReader(data)); err == nil {
		t.Error("it is taken in")
	}
}

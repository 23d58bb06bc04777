package gitgate

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync"
)

// inflater undoes the compression of what lies in memory, whole, and whose length
// is known: RFC 1950 and 1951. It takes all that zlib takes, and more: checksums and
// whether codes are complete are left alone, for git has looked, and an object must
// be what its ID says.
type inflater struct {
	src  []byte
	at   int    // in src
	hold uint64 // the next bits, the first one lowest
	n    uint   // how many there are
	over uint   // bits of hold that are not in src

	lengths   [maxLiterals + maxDistances]uint8
	literals  codes
	distances codes
}

const (
	maxLiterals  = 286
	maxDistances = 30
	maxCode      = 15 // bits
)

var errInflate = fmt.Errorf("%w: an object is not as long as it says, or broken", errPack)

// run fills dst with what the beginning of src decompresses to, which must be as
// long.
func (z *inflater) run(dst, src []byte) error {
	if len(src) < 2 || src[0]&15 != 8 || src[0]>>4 > 7 || src[1]&0x20 != 0 || binary.BigEndian.Uint16(src)%31 != 0 {
		return errInflate
	}
	z.src, z.at, z.hold, z.n, z.over = src, 2, 0, 0, 0
	done := 0
	for last := false; !last; {
		var err error
		z.fill()
		last = z.take(1) == 1
		switch z.take(2) {
		case 0:
			done, err = z.stored(dst, done)
		case 1:
			codes := fixed()
			done, err = z.block(dst, done, codes.literals, codes.distances)
		case 2:
			if err = z.described(); err == nil {
				done, err = z.block(dst, done, z.literals, z.distances)
			}
		default:
			err = errInflate
		}
		if err != nil {
			return err
		}
		if z.n < z.over {
			return errInflate
		}
	}
	if done != len(dst) {
		return errInflate
	}
	return nil
}

// fill sees to 56 bits at least: behind the end of src there are zeros.
func (z *inflater) fill() {
	if z.at+8 <= len(z.src) {
		z.hold |= binary.LittleEndian.Uint64(z.src[z.at:]) << z.n
		z.at += int(63-z.n) >> 3
		z.n |= 56
		return
	}
	for ; z.n <= 56; z.n += 8 {
		if z.at < len(z.src) {
			z.hold |= uint64(z.src[z.at]) << z.n
			z.at++
		} else {
			z.over += 8
		}
	}
}

func (z *inflater) take(n uint) uint64 {
	v := z.hold & (1<<n - 1)
	z.hold >>= n
	z.n -= n
	return v
}

// stored copies a block that is not compressed.
func (z *inflater) stored(dst []byte, done int) (int, error) {
	z.take(z.n & 7)
	z.fill()
	length, inverse := int(z.take(16)), int(z.take(16))
	if length != inverse^0xffff || z.n < z.over {
		return done, errInflate
	}
	z.at -= int(z.n-z.over) >> 3 // it begins there
	z.hold, z.n, z.over = 0, 0, 0
	if length > len(dst)-done || length > len(z.src)-z.at {
		return done, errInflate
	}
	copy(dst[done:], z.src[z.at:][:length])
	z.at += length
	return done + length, nil
}

// fixed are the codes that need no description.
var fixed = sync.OnceValue(func() (c struct{ literals, distances codes }) {
	lengths := slices.Concat(slices.Repeat([]uint8{8}, 144), slices.Repeat([]uint8{9}, 112), slices.Repeat([]uint8{7}, 24), slices.Repeat([]uint8{8}, 8))
	c.literals.make(lengths, literalCodes)
	c.distances.make(slices.Repeat([]uint8{5}, maxDistances), distanceCodes)
	return c
})

// described reads the codes of a block.
func (z *inflater) described() error {
	z.fill()
	literals, distances, n := int(z.take(5))+257, int(z.take(5))+1, int(z.take(4))+4
	if literals > maxLiterals || distances > maxDistances {
		return errInflate
	}
	var of [19]uint8
	for _, i := range lengthOrder[:n] {
		z.fill()
		of[i] = uint8(z.take(3))
	}
	if !z.literals.make(of[:], lengthCodes) {
		return errInflate
	}
	all := z.lengths[:literals+distances]
	for i := 0; i < len(all); {
		z.fill()
		e := z.literals.next(z)
		if e.bits() == 0 {
			return errInflate
		}
		again := int(z.take(e.extra()))
		switch v := e.value(); {
		case v < 16:
			all[i] = uint8(v)
			i++
			continue
		case v == 16 && i == 0:
			return errInflate
		case v == 16:
			again += 3
		case v == 17:
			again += 3
		default:
			again += 11
		}
		if again > len(all)-i {
			return errInflate
		}
		same := uint8(0)
		if e.value() == 16 {
			same = all[i-1]
		}
		for range again {
			all[i] = same
			i++
		}
	}
	if all[256] == 0 || !z.literals.make(all[:literals], literalCodes) || !z.distances.make(all[literals:], distanceCodes) {
		return errInflate
	}
	return nil
}

// block decompresses what follows, to the end of a block.
func (z *inflater) block(dst []byte, done int, literals, distances codes) (int, error) {
	hold, n := z.hold, z.n
	for {
		if n < 48 { // one turn takes no more
			z.hold, z.n = hold, n
			z.fill()
			hold, n = z.hold, z.n
		}
		e := literals.table[hold&(1<<direct-1)]
		if e&isTable != 0 {
			hold, n = hold>>direct, n-direct
			e = literals.table[e.value()+int(hold&(1<<e.extra()-1))]
		}
		hold, n = hold>>e.bits(), n-e.bits()
		if e&isLiteral != 0 {
			if done == len(dst) {
				return done, errInflate
			}
			dst[done] = byte(e.value())
			done++
			continue
		}
		if e&isEnd != 0 {
			z.hold, z.n = hold, n
			return done, nil
		}
		length := e.value() + int(hold&(1<<e.extra()-1))
		hold, n = hold>>e.extra(), n-e.extra()
		d := distances.table[hold&(1<<direct-1)]
		if d&isTable != 0 {
			hold, n = hold>>direct, n-direct
			d = distances.table[d.value()+int(hold&(1<<d.extra()-1))]
		}
		hold, n = hold>>d.bits(), n-d.bits()
		back := d.value() + int(hold&(1<<d.extra()-1))
		hold, n = hold>>d.extra(), n-d.extra()
		if length == 0 || back == 0 || back > done || length > len(dst)-done { // no code has the value 0
			return done, errInflate
		}
		from, to := dst[done-back:], dst[done:done+length]
		for done += length; len(to) > 0; back *= 2 { // it may go on with what it has written
			to = to[copy(to, from[:back]):]
		}
	}
}

// code is an entry of a table: the bits that it takes, those that follow and add
// to its value, what it is, and its value. The zero value is no code.
type code uint32

const (
	isLiteral code = 1 << (12 + iota)
	isEnd
	isTable // its value is where one is, for so many more bits as it says to be extra
)

func (e code) bits() uint  { return uint(e & 15) }
func (e code) extra() uint { return uint(e >> 4 & 15) }
func (e code) value() int  { return int(e >> 16) }

func codeOf(value int, extra uint, is code) code { return code(value)<<16 | is | code(extra)<<4 }

// codes finds codes by the bits that come.
type codes struct{ table []code }

const direct = 9 // bits of codes that are found at once

func (c *codes) next(z *inflater) code {
	e := c.table[z.hold&(1<<direct-1)]
	if e&isTable != 0 {
		z.take(direct)
		e = c.table[e.value()+int(z.hold&(1<<e.extra()-1))]
	}
	z.take(e.bits())
	return e
}

// make makes the table of codes of these lengths; false: there are more than
// there can be.
func (c *codes) make(lengths []uint8, meaning []code) bool {
	var count, next [maxCode + 2]int
	longest := 0
	for _, l := range lengths {
		count[l]++
		longest = max(longest, int(l))
	}
	count[0] = 0
	for l := 1; l <= maxCode; l++ {
		next[l+1] = (next[l] + count[l]) << 1
		if next[l]+count[l] > 1<<l {
			return false
		}
	}
	if c.table == nil {
		c.table = make([]code, 1<<direct, 4<<direct)
	}
	c.table = c.table[:1<<direct]
	clear(c.table)
	for symbol, length := range lengths {
		if length == 0 {
			continue
		}
		l := int(length)
		reversed := int(bits.Reverse16(uint16(next[l])) >> (16 - l))
		next[l]++
		e := meaning[symbol]
		if l <= direct {
			for i := reversed; i < 1<<direct; i += 1 << l {
				c.table[i] = e | code(l)
			}
			continue
		}
		more := longest - direct
		first := c.table[reversed&(1<<direct-1)]
		if first == 0 {
			first = codeOf(len(c.table), uint(more), isTable)
			c.table[reversed&(1<<direct-1)] = first
			c.table = append(c.table, make([]code, 1<<more)...)
		}
		for i := reversed >> direct; i < 1<<more; i += 1 << (l - direct) {
			c.table[first.value()+i] = e | code(l-direct)
		}
	}
	return true
}

// lengthOrder is the order in which the lengths of the codes of lengths come.
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// What the symbols of the three kinds of codes mean.
var (
	lengthCodes   = meanings(19, lengthOf)
	literalCodes  = meanings(288, literalOf)
	distanceCodes = meanings(maxDistances, distanceOf)
)

func meanings(n int, of func(symbol int) code) []code {
	all := make([]code, n)
	for i := range all {
		all[i] = of(i)
	}
	return all
}

func lengthOf(symbol int) code {
	switch symbol {
	case 16:
		return codeOf(symbol, 2, 0)
	case 17:
		return codeOf(symbol, 3, 0)
	case 18:
		return codeOf(symbol, 7, 0)
	}
	return codeOf(symbol, 0, 0)
}

func literalOf(symbol int) code {
	switch i := symbol - 257; {
	case symbol < 256:
		return codeOf(symbol, 0, isLiteral)
	case symbol == 256:
		return codeOf(0, 0, isEnd)
	case i < 8:
		return codeOf(3+i, 0, 0)
	case i < 28:
		extra := uint(i/4 - 1)
		return codeOf(3+(4+i%4)<<extra, extra, 0)
	case i == 28:
		return codeOf(258, 0, 0)
	}
	return codeOf(0, 0, 0)
}

func distanceOf(symbol int) code {
	if symbol < 4 {
		return codeOf(1+symbol, 0, 0)
	}
	extra := uint(symbol/2 - 1)
	return codeOf(1+(2+symbol%2)<<extra, extra, 0)
}

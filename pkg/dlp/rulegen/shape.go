package main

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// unbounded is how much of an endless repetition is looked at.
const unbounded = 1024

// lengths returns how many characters an expression matches, at least and at
// most.
func lengths(re *syntax.Regexp) (least, most int) {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune), len(string(re.Rune))
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 1
	case syntax.OpCapture:
		return lengths(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			l, m := lengths(sub)
			least, most = least+l, most+m
		}
		return least, most
	case syntax.OpAlternate:
		least, most = lengths(re.Sub[0])
		for _, sub := range re.Sub[1:] {
			l, m := lengths(sub)
			least, most = min(least, l), max(most, m)
		}
		return least, most
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		return repeat(re)
	}
	return 0, 0
}

func repeat(re *syntax.Regexp) (least, most int) {
	l, m := lengths(re.Sub[0])
	switch re.Op {
	case syntax.OpStar:
		return 0, max(m, unbounded)
	case syntax.OpPlus:
		return l, max(m, unbounded)
	case syntax.OpQuest:
		return 0, m
	}
	if re.Max < 0 {
		return l * re.Min, max(m*re.Min, unbounded)
	}
	return l * re.Min, m * re.Max
}

// front is one way in which a match may begin.
type front struct {
	text string
	fold bool // any case of it
	open bool // nothing certain follows
}

const maxFronts = 512

// expand returns all ways in which a match may begin, each as far as it is
// certain. Nil: there are too many.
func expand(re *syntax.Regexp) []front {
	switch re.Op {
	case syntax.OpLiteral:
		return []front{{text: string(re.Rune), fold: re.Flags&syntax.FoldCase != 0}}
	case syntax.OpCapture:
		return expand(re.Sub[0])
	case syntax.OpConcat:
		return expandAll(re.Sub)
	case syntax.OpAlternate:
		var all []front
		for _, sub := range re.Sub {
			f := expand(sub)
			if f == nil || len(all)+len(f) > maxFronts {
				return nil
			}
			all = append(all, f...)
		}
		return all
	case syntax.OpQuest:
		return append(expand(re.Sub[0]), front{})
	case syntax.OpCharClass:
		return expandClass(re)
	case syntax.OpEmptyMatch, syntax.OpWordBoundary:
		return []front{{}}
	}
	return []front{{open: true}}
}

func expandAll(subs []*syntax.Regexp) []front {
	all := []front{{}}
	for _, sub := range subs {
		next := expand(sub)
		var longer []front
		for _, f := range all {
			if f.open || len(f.text) >= 24 {
				longer = append(longer, f)
				continue
			}
			for _, n := range next {
				longer = append(longer, front{f.text + n.text, f.fold || n.fold, n.open})
			}
		}
		if next == nil || len(longer) > maxFronts {
			return closed(all)
		}
		all = longer
	}
	return all
}

// closed marks fronts as ending where they do.
func closed(all []front) []front {
	for i := range all {
		all[i].open = true
	}
	return all
}

// expandClass expands a class of few characters.
func expandClass(re *syntax.Regexp) []front {
	var all []front
	for i := 0; i < len(re.Rune); i += 2 {
		for c := re.Rune[i]; c <= re.Rune[i+1]; c++ {
			if len(all) == 10 {
				return []front{{open: true}}
			}
			all = append(all, front{text: string(c)})
		}
	}
	return all
}

// anchored says whether every match begins with a keyword.
func anchored(fronts []front, keywords []string) bool {
	for _, f := range fronts {
		low := strings.ToLower(f.text)
		if !slices.ContainsFunc(keywords, func(k string) bool { return strings.HasPrefix(low, k) }) {
			return false
		}
	}
	return len(fronts) > 0
}

// exact says whether the fronts' case is what it is.
func exact(fronts []front) bool {
	return !slices.ContainsFunc(fronts, func(f front) bool { return f.fold })
}

func texts(fronts []front) []string {
	var all []string
	for _, f := range fronts {
		all = append(all, f.text)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// folded are fronts as keywords.
func folded(fronts []front) []string {
	var all []string
	for _, f := range fronts {
		all = append(all, strings.ToLower(f.text))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

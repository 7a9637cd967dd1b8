// Package suggest finds the word that somebody most likely meant.
package suggest

import (
	"slices"
	"strings"
)

// Nearest returns the known word that is most like the given one, in any case;
// empty if none is like enough for a slip of the hand.
func Nearest(word string, known []string) string {
	best, least := "", max(2, (len(word)+1)/3)
	if len(word) < 4 {
		least = 1
	}
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		if d := distance(strings.ToLower(word), strings.ToLower(candidate)); d < least || d == least && best == "" {
			best, least = candidate, d
		}
	}
	return best
}

// DidYouMean is Nearest as the end of a sentence, or empty.
func DidYouMean(word string, known []string) string {
	if nearest := Nearest(word, known); nearest != "" {
		return "; did you mean " + nearest + "?"
	}
	return ""
}

// distance is how many letters must be added, removed, changed, or swapped with
// the next, to make one word of the other.
func distance(a, b string) int {
	before, last, this := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		this[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			this[j] = min(last[j]+1, this[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				this[j] = min(this[j], before[j-2]+1)
			}
		}
		before, last, this = last, this, before
	}
	return last[len(b)]
}

package ollama

import (
	"bytes"
	"iter"
)

// These walk JSON by its brackets and quotes alone. stringEnd and nestEnd take
// any bytes and say -1 of what doesn't end; from valueEnd on it must be JSON
// that was found valid.

// stringEnd is the index after the string whose opening quote is b[i].
func stringEnd(b []byte, i int) int {
	for end := i + 1; ; {
		n := bytes.IndexByte(b[end:], '"')
		if n < 0 {
			return -1
		}
		end += n + 1
		slashes := 0
		for b[end-2-slashes] == '\\' { // stops at the opening quote
			slashes++
		}
		if slashes%2 == 0 {
			return end
		}
	}
}

// nestEnd is the index after the object or array that begins at b[i].
func nestEnd(b []byte, i int) int {
	for depth := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := stringEnd(b, i)
			if end < 0 {
				return -1
			}
			i = end - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// skipSpace is the index of the first byte from b[i] on that isn't JSON's
// white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// valueEnd is the index after the value that begins at b[i].
func valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		return nestEnd(b, i)
	}
	if n := bytes.IndexAny(b[i:], ",]} \n\r\t"); n >= 0 {
		return i + n
	}
	return len(b)
}

// members yields each key, unquoted, and the bytes of its value.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for i := skipSpace(object, 1); object[i] != '}'; {
			end := stringEnd(object, i)
			key := object[i+1 : end-1]
			if bytes.IndexByte(key, '\\') >= 0 {
				s, _ := text(object[i:end])
				key = []byte(s)
			}
			i = skipSpace(object, skipSpace(object, end)+1) // past the colon
			end = valueEnd(object, i)
			if !yield(key, object[i:end]) {
				return
			}
			if i = skipSpace(object, end); object[i] == ',' {
				i = skipSpace(object, i+1)
			}
		}
	}
}

// elements yields the bytes of each value.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func(value []byte) bool) {
		for i := skipSpace(array, 1); array[i] != ']'; {
			end := valueEnd(array, i)
			if !yield(array[i:end]) {
				return
			}
			if i = skipSpace(array, end); array[i] == ',' {
				i = skipSpace(array, i+1)
			}
		}
	}
}

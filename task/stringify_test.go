package task

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// stringified are JSON texts, and what JavaScript makes of them.
var stringified = map[string]string{
	// As Python, PHP and Go write strings.
	`"caf\u00e9 \ud83d\ude00 \u2028 \u007f"`: "\"café 😀 \u2028 \x7f\"",
	`"a\/b"`:                                 `"a/b"`,
	`"\u003ca\u003e \u0026"`:                 `"<a> &"`,
	`"\u0041\u0022\u005c\u002f"`:             `"A\"\\/"`,
	`"\u0008\u000c\u000A\r\t"`:               `"\b\f\n\r\t"`,
	`"\u001F\u0000"`:                         `"\u001f\u0000"`,
	`"\uD83D \uDE00 \ud83d\u0041"`:           `"\ud83d \ude00 \ud83dA"`,
	`"\ud83d\ud83d\ude00"`:                   "\"\\ud83d😀\"",
	`"\\u00e9"`:                              `"\\u00e9"`,
	` { "a" : [ ] , "b" : { } } `:            `{"a":[],"b":{}}`,
	"[\n\t1 ,\r\n true,false, null ]":        `[1,true,false,null]`,
	// Numbers.
	`1.0`: `1`, `-1.50`: `-1.5`, `0.10`: `0.1`, `1.7E9`: `1700000000`, `1e3`: `1000`, `1E+2`: `100`, `12e-1`: `1.2`,
	`-0`: `0`, `-0.0e5`: `0`, `0e-999`: `0`, `1e21`: `1e+21`, `1e20`: `100000000000000000000`, `123e-9`: `1.23e-7`, `0.000001`: `0.000001`,
	`1.5e300`: `1.5e+300`, `5e-324`: `5e-324`, `1e-7`: `1e-7`, `9007199254740992`: `9007199254740992`,
	// What a double does not keep stays.
	`9007199254740993`: `9007199254740993`, `12345678901234567890.10`: `12345678901234567890.10`, `1E400`: `1E400`, `1e-400`: `1e-400`,
	`0.1000000000000000055`: `0.1000000000000000055`,
	// Order of members.
	`{"b":1,"2":2,"10":3,"1":4,"a":5,"01":6,"-1":7,"4294967295":8,"4294967294":9}`: `{"1":4,"2":2,"10":3,"4294967294":9,"b":1,"a":5,"01":6,"-1":7,"4294967295":8}`,
	`{"a":1,"b":2,"\u0061":{"2":3,"1":4}}`:                                         `{"a":{"1":4,"2":3},"b":2}`,
	`{"__proto__":1,"":2}`:                                                         `{"__proto__":1,"":2}`,
}

func TestStringify(t *testing.T) {
	for text, want := range stringified {
		require.Equal(t, want, string(stringify([]byte(text))), text)
		require.Equal(t, want, string(stringify([]byte(want))), "what is so already stays")
	}
}

// Where JavaScript is at hand, it says the same.
func TestStringifyIsWhatJavaScriptSays(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node")
	}
	for text, want := range stringified {
		if text == want || strings.Contains(text, "e-400") {
			continue // among them what JavaScript would change
		}
		cmd := exec.Command(node, "-e", `process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0,"utf8"))))`)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, want, string(out), text)
	}
}

// A text that is nested, and in the wrong order at each level, is not moved
// again and again.
func TestStringifyIsBounded(t *testing.T) {
	const depth = 9000
	text := strings.Repeat(`{"2":`, depth) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat(`,"1":0}`, depth)
	require.True(t, json.Valid([]byte(text)))
	require.Len(t, stringify([]byte(text)), len(text))
}

func FuzzStringify(f *testing.F) {
	for text := range stringified {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) || !utf8.Valid(text) {
			return
		}
		once := stringify(text)
		require.True(t, json.Valid(once), "%s", once)
		require.True(t, bytes.Equal(once, stringify(once)), "%s", once)
		var was, is any
		if json.Unmarshal(text, &was) == nil && json.Unmarshal(once, &is) == nil {
			require.Equal(t, was, is)
		}
	})
}

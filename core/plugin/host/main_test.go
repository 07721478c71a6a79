package host_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also is every plugin of these tests: the test binary, started
// again with the name of a behaviour.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "behave" {
		behave(os.Args[2], os.Args[3])
		return
	}
	dir, err := os.MkdirTemp("", "host") // of a short path: sockets live in it
	if err != nil {
		panic(err)
	}
	os.Setenv("TMPDIR", dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			fmt.Println("left in the temporary directory:", left, err)
			code = max(code, 1)
		}
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

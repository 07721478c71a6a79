package daemon

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/testkit"
)

// replace gives a file other contents, by renaming as well-behaved tools do.
func replace(t *testing.T, path string, contents []byte) {
	t.Helper()
	fresh := path + ".new"
	if err := os.WriteFile(fresh, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
}

// follow returns an identity with its first files, what it serves with after
// some time, and its log.
func follow(t *testing.T, files config.TLS) (after func(time.Duration) *tls.Config, log *bytes.Buffer) {
	t.Helper()
	log = new(bytes.Buffer)
	self := &identity{files: files, log: slog.New(slog.NewTextHandler(log, nil))}
	if err := self.load(); err != nil {
		t.Fatal(err)
	}
	after = func(d time.Duration) *tls.Config {
		t.Helper()
		time.Sleep(d)
		config, err := self.config(nil)
		if err != nil {
			t.Fatal(err)
		}
		return config
	}
	return after, log
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		files := config.TLS{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca")}
		authority, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
		oldCert, oldKey := authority.Issue(t, "foreman.lan")
		newCert, newKey := authority.Issue(t, "foreman.lan")
		replace(t, files.Cert, oldCert)
		replace(t, files.Key, oldKey)
		replace(t, files.ClientCA, authority.PEM)
		after, log := follow(t, files)

		old := after(0)
		replace(t, files.Cert, newCert) // its key isn't there yet
		for range 5 {
			if after(lookEvery) != old {
				t.Error("a certificate without its key is in use")
			}
		}
		if told := strings.Count(log.String(), "level=WARN"); told != 1 {
			t.Errorf("the log tells %d times of a pair that doesn't match:\n%s", told, log)
		}
		replace(t, files.Key, newKey)
		fresh := after(lookEvery)
		want, err := tls.X509KeyPair(newCert, newKey)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fresh.Certificates[0].Certificate[0], want.Certificate[0]) {
			t.Error("the new pair isn't in use")
		}
		if after(lookEvery) != fresh || strings.Count(log.String(), "level=INFO") != 1 {
			t.Errorf("files that haven't changed were loaded again:\n%s", log)
		}

		replace(t, files.ClientCA, other.PEM)
		if after(lookEvery/2) != fresh {
			t.Error("the files were looked at twice within a second")
		}
		if after(lookEvery / 2).ClientCAs.Equal(fresh.ClientCAs) {
			t.Error("the new authority isn't in use")
		}
		if strings.Contains(log.String(), "PRIVATE") || strings.Contains(log.String(), string(newKey[30:60])) {
			t.Errorf("the log tells of the key:\n%s", log)
		}
	})
}

func TestBrokenFilesLeaveTheOldCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		files := config.TLS{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca")}
		authority := testkit.NewAuthority(t)
		cert, key := authority.Issue(t, "foreman.lan")
		good := map[string][]byte{files.Cert: cert, files.Key: key, files.ClientCA: authority.PEM}
		for path, contents := range good {
			replace(t, path, contents)
		}
		after, log := follow(t, files)
		for path, contents := range good {
			for name, broken := range map[string]func(){
				"empty":   func() { replace(t, path, nil) },
				"cut":     func() { replace(t, path, contents[:len(contents)/2]) },
				"garbage": func() { replace(t, path, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")) },
				"gone":    func() { os.Remove(path) },
			} {
				before := after(lookEvery)
				log.Reset()
				broken()
				for range 2 {
					if after(lookEvery) != before {
						t.Errorf("%s, %s: it is in use", filepath.Base(path), name)
					}
				}
				if strings.Count(log.String(), "level=WARN") != 1 {
					t.Errorf("%s, %s: the log doesn't tell it once:\n%s", filepath.Base(path), name, log)
				}
				replace(t, path, contents)
				if after(lookEvery) == before {
					t.Errorf("%s, %s: it is whole again, and nobody looks", filepath.Base(path), name)
				}
			}
		}
	})
}

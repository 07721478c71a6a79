package daemon_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-af7fee88/foreman/core/api"
	"github.com/seed-af7fee88/foreman/core/config"
	"github.com/seed-af7fee88/foreman/core/daemon"
	"github.com/seed-af7fee88/foreman/core/testkit"
)

// tlsFiles writes a pair that authority issues for names, and as client_ca
// the authority of the callers, if there is one.
func tlsFiles(t *testing.T, authority, callers *testkit.Authority, names ...string) config.TLS {
	t.Helper()
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "foreman.crt"), Key: filepath.Join(dir, "foreman.key")}
	issue(t, files, authority, names...)
	if callers != nil {
		files.ClientCA = filepath.Join(dir, "callers.crt")
		write(t, files.ClientCA, callers.PEM)
	}
	return files
}

func issue(t *testing.T, files config.TLS, authority *testkit.Authority, names ...string) {
	t.Helper()
	cert, key := authority.Issue(t, names...)
	write(t, files.Cert, cert)
	write(t, files.Key, key)
}

func write(t *testing.T, path string, contents []byte) {
	t.Helper()
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
}

// trusting is a caller's TLS that trusts authority, and shows the certificates.
func trusting(authority *testkit.Authority, own ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	return &tls.Config{RootCAs: roots, Certificates: own}
}

// ask sends a request on a connection of its own, and returns the status.
func ask(secure *tls.Config, url string) (status int, negotiated string, err error) {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true, ForceAttemptHTTP2: true}, Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Proto, err
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestServesHTTPS(t *testing.T) {
	authority := testkit.NewAuthority(t)
	cfg := configFor(t, simulated(t, "tiny:latest").URL())
	cfg.Server.TLS = tlsFiles(t, authority, nil, "foreman.lan", "127.0.0.1")
	log := new(syncBuffer)
	d, stop := serve(t, cfg, slog.New(slog.NewTextHandler(log, nil)))
	// A caller that would speak HTTP/2 gets HTTP/1.1.
	status, proto, err := ask(trusting(authority), d.URL()+"/api/tags")
	if status != 200 || proto != "HTTP/1.1" || err != nil {
		t.Errorf("a caller that trusts the authority: %d %s, %v", status, proto, err)
	}
	if _, _, err := ask(trusting(testkit.NewAuthority(t)), d.URL()+"/livez"); err == nil {
		t.Error("a caller that trusts somebody else was content")
	}
	old := trusting(authority)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, _, err := ask(old, d.URL()+"/livez"); err == nil {
		t.Error("TLS 1.1 will do")
	}
	http2 := trusting(authority)
	http2.NextProtos = []string{"h2"}
	if conn, err := tls.Dial("tcp", d.Addr().String(), http2); err == nil {
		conn.Close()
		t.Error("HTTP/2 will do")
	}
	if status, _, err := ask(nil, "http://"+d.Addr().String()+"/api/tags"); err != nil || status != 400 {
		t.Errorf("without TLS: %d, %v", status, err)
	}
	stop()
	if want := "https://" + d.Addr().String(); d.URL() != want || !strings.Contains(log.String(), "address="+want) {
		t.Errorf("it is at %s, and logs\n%s", d.URL(), log.String())
	}
}

func TestCommandsReachADaemonThatServesHTTPS(t *testing.T) {
	authority := testkit.NewAuthority(t)
	for name, files := range map[string]config.TLS{
		"for a name that isn't the address":           tlsFiles(t, authority, nil, "foreman.lan"),
		"for any name of a domain":                    tlsFiles(t, authority, nil, "*.lan"),
		"for an address":                              tlsFiles(t, authority, nil, "192.168.1.5"),
		"with callers' certificates of the authority": tlsFiles(t, authority, authority, "foreman.lan"),
	} {
		cfg := configFor(t, simulated(t, "tiny:latest").URL())
		cfg.Server.TLS = files
		d, stop := serve(t, cfg, slog.New(slog.DiscardHandler))
		secure, err := daemon.ClientTLS(files)
		if err != nil {
			t.Fatal(err)
		}
		client := api.NewTLSClient(d.Addr().String(), "", secure)
		if _, err := client.Health(t.Context()); err != nil || client.URL() != d.URL() {
			t.Errorf("a certificate %s: %v at %s", name, err, client.URL())
		}
		if _, err := api.NewClient(d.Addr().String(), "").Health(t.Context()); !errors.Is(err, api.ErrNoDaemon) {
			t.Errorf("without TLS: %v", err)
		}
		stop()
	}
}

func TestCallersHaveToShowACertificate(t *testing.T) {
	own, callers, stranger := testkit.NewAuthority(t), testkit.NewAuthority(t), testkit.NewAuthority(t)
	cfg := configFor(t, simulated(t, "tiny:latest").URL())
	cfg.Server.TLS = tlsFiles(t, own, callers, "127.0.0.1")
	d, stop := serve(t, cfg, slog.New(slog.DiscardHandler))
	defer stop()
	pair := func(authority *testkit.Authority) tls.Certificate {
		cert, key := authority.Issue(t, "somebody")
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	for name, c := range map[string]struct {
		shown []tls.Certificate
		let   bool
	}{
		"none":                   {nil, false},
		"of the authority":       {[]tls.Certificate{pair(callers)}, true},
		"of foreman's authority": {[]tls.Certificate{pair(own)}, false},
		"of a stranger's":        {[]tls.Certificate{pair(stranger)}, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, path := range []string{"/livez", "/api/tags"} {
				secure := trusting(own)
				secure.MaxVersion = version
				secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(c.shown) == 0 {
						return new(tls.Certificate), nil
					}
					return &c.shown[0], nil // even one that isn't asked for
				}
				status, _, err := ask(secure, d.URL()+path)
				if (status == 200) != c.let || (err == nil) != c.let {
					t.Errorf("%s, %s, with %s: %d, %v", name, path, tls.VersionName(version), status, err)
				}
			}
		}
	}
	_, err := api.NewTLSClient(d.Addr().String(), "", trusting(own)).Health(t.Context())
	if !errors.Is(err, api.ErrNotAllowed) || !strings.Contains(err.Error(), "client_ca") {
		t.Errorf("a command without a certificate: %v", err)
	}
}

func TestANewCertificateIsTakenUp(t *testing.T) {
	authority := testkit.NewAuthority(t)
	cfg := configFor(t, simulated(t, "tiny:latest").URL())
	cfg.Server.TLS = tlsFiles(t, authority, nil, "old.lan")
	d, stop := serve(t, cfg, slog.New(slog.DiscardHandler))
	defer stop()
	shows := func(name string) error {
		conn, err := tls.Dial("tcp", d.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != name {
			return fmt.Errorf("it shows the certificate of %v", got)
		}
		return nil
	}
	if err := shows("old.lan"); err != nil {
		t.Fatal(err)
	}
	issue(t, cfg.Server.TLS, authority, "new.lan")
	testkit.Await(t, 5*time.Second, "the new certificate", func() error { return shows("new.lan") })
}

func TestBrokenTLSFilesAreSaidAtOnce(t *testing.T) {
	authority := testkit.NewAuthority(t)
	for name, c := range map[string]struct {
		spoil func(config.TLS)
		want  string
	}{
		"no certificate": {func(f config.TLS) { os.Remove(f.Cert) }, "foreman.crt: no such file"},
		"no key":         {func(f config.TLS) { os.Remove(f.Key) }, "foreman.key: no such file"},
		"no client_ca":   {func(f config.TLS) { os.Remove(f.ClientCA) }, "callers.crt: no such file"},
		"another key": {func(f config.TLS) {
			_, key := authority.Issue(t, "other")
			write(t, f.Key, key)
		}, "private key does not match"},
		"a key for a certificate": {func(f config.TLS) { write(t, f.Cert, must(os.ReadFile(f.Key))) }, "PEM inputs may have been switched"},
		"an empty client_ca":      {func(f config.TLS) { write(t, f.ClientCA, nil) }, "callers.crt holds no certificate in PEM"},
	} {
		cfg := configFor(t, "http://127.0.0.1:1")
		cfg.Server.TLS = tlsFiles(t, authority, authority, "foreman.lan")
		c.spoil(cfg.Server.TLS)
		_, err := daemon.New(cfg, daemon.Options{}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.HasPrefix(err.Error(), "server.tls: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

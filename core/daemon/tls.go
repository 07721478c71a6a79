package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed-af7fee88/foreman/core/config"
)

// lookEvery is how often at most the files of TLS are looked at, whatever the
// number of handshakes.
const lookEvery = time.Second

// listen listens as the config says, and returns the scheme of what is served.
func listen(server config.Server, log *slog.Logger) (net.Listener, string, error) {
	self := &identity{files: server.TLS, log: log}
	secure := server.TLS.Cert != ""
	if secure {
		if err := self.load(); err != nil {
			return nil, "", fmt.Errorf("server.tls: %w", err)
		}
	}
	listener, err := net.Listen("tcp", server.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, "", fmt.Errorf("%s is taken: stop what listens there, which may be another foreman, or set server.listen to another address", server.Listen)
	}
	if err != nil {
		return nil, "", fmt.Errorf("can't listen on server.listen: %w", err)
	}
	if at, ok := listener.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() && len(server.Tokens) == 0 && server.TLS.ClientCA == "" {
		log.Warn("server.insecure is set: whoever can reach this address may use the target, without a token", "address", at.String())
	}
	if !secure {
		return listener, "http", nil
	}
	return tls.NewListener(listener, &tls.Config{GetConfigForClient: self.config}), "https", nil
}

// An identity is who foreman is to callers, and whose certificates it asks
// them for. It follows its files, looking at them as callers come.
type identity struct {
	files config.TLS
	log   *slog.Logger

	mu     sync.Mutex
	looked time.Time
	seen   []os.FileInfo // of the files, when they were last tried
	inUse  *tls.Config
}

// config is the one for a new connection. Files that are broken, or don't yet
// belong together, leave the one before in use until they change again.
func (i *identity) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.looked) < lookEvery {
		return i.inUse, nil
	}
	i.looked = time.Now()
	if slices.EqualFunc(i.seen, i.look(), sameFile) {
		return i.inUse, nil
	}
	if err := i.load(); err != nil {
		i.log.Warn("the new files of server.tls are of no use: the old ones stay", "error", err)
	} else {
		i.log.Info("the files of server.tls have changed and are in use")
	}
	return i.inUse, nil
}

// look is what the files are like now; nil for one that can't be looked at.
func (i *identity) look() []os.FileInfo {
	var infos []os.FileInfo
	for _, path := range []string{i.files.Cert, i.files.Key, i.files.ClientCA} {
		info, _ := os.Stat(path)
		infos = append(infos, info)
	}
	return infos
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// load takes the files into use, or fails and leaves what was.
func (i *identity) load() error {
	i.seen = i.look() // before they are read: a change meanwhile is the next one
	pair, err := tls.LoadX509KeyPair(i.files.Cert, i.files.Key)
	if err != nil {
		return err
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		// Not HTTP/2: its streams share a connection, and the deadlines that
		// bound each caller are a connection's.
		NextProtos: []string{"http/1.1"},
	}
	if i.files.ClientCA != "" {
		authorities, err := certificates(i.files.ClientCA)
		if err != nil {
			return err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = addTo(x509.NewCertPool(), authorities)
		config.SessionTicketsDisabled = true // a ticket would outlive a change of client_ca
	}
	i.inUse = config
	return nil
}

// certificates reads a PEM file, which holds at least one.
func certificates(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return certs, nil
}

func addTo(pool *x509.CertPool, certs []*x509.Certificate) *x509.CertPool {
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool
}

// ClientTLS is how foreman's own commands speak to the daemon that serves with
// files. They trust its certificate, under the name that it is for: mostly
// they reach it by another one, such as localhost. To a daemon that asks for a
// certificate they show the same one.
func ClientTLS(files config.TLS) (*tls.Config, error) {
	certs, err := certificates(files.Cert)
	if err != nil {
		return nil, fmt.Errorf("server.tls.cert: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: addTo(roots, certs), ServerName: nameOf(certs[0])}
	if files.ClientCA != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, fmt.Errorf("server.tls: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// nameOf is a name that cert is for, "" if it is for none.
func nameOf(cert *x509.Certificate) string {
	switch {
	case len(cert.DNSNames) > 0:
		return strings.Replace(cert.DNSNames[0], "*", "foreman", 1)
	case len(cert.IPAddresses) > 0:
		return cert.IPAddresses[0].String()
	default:
		return ""
	}
}

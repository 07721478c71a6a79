package notify

import (
	"net"
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	const public, private, never = "public", "private", "never"
	for address, want := range map[string]string{
		"1.1.1.1": public, "93.184.215.14": public, "2606:4700:4700::1111": public,
		"127.0.0.1": private, "127.9.9.9": private, "10.1.2.3": private, "172.16.0.1": private, "172.31.255.255": private,
		"192.168.1.1": private, "100.64.0.1": private, "::1": private, "fd12:3456::1": private,
		"172.32.0.1": public, "100.128.0.1": public,
		"0.0.0.0": never, "169.254.169.254": never, "169.254.1.1": never, "fe80::1": never, "fe80::1%eth0": never,
		"224.0.0.1": never, "ff02::1": never, "255.255.255.255": never, "::": never, "192.0.0.192": never,
		"100.100.100.200": never, "168.63.129.16": never, "fd00:ec2::254": never, "fd20:ce::254": never,
		"fd00:ec2::254%eth0": never, "::ffff:169.254.169.254": never,
	} {
		network := "tcp4"
		if netip.MustParseAddr(address).Is6() {
			network = "tcp6"
		}
		at := net.JoinHostPort(address, "8443")
		got := never
		if newGuard(false).control(network, at, nil) == nil {
			got = public
		} else if newGuard(true).control(network, at, nil) == nil {
			got = private
		}
		if got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
	if err := newGuard(true).control("tcp4", "nonsense", nil); err == nil {
		t.Error("what is no address goes through")
	}
}

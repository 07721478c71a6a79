package notify

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// A guard judges the address of a connection after DNS and before the first
// packet, so that no name can lead where its owner shouldn't.
type guard struct {
	private bool           // private networks are allowed
	strict  *ssrf.Guardian // the public Internet
	wide    *ssrf.Guardian // that and private networks
}

// newGuard allows the public Internet; with private also this machine, the
// networks of a house or a company (RFC 1918, fc00::/7) and carriers' shared
// space, which overlay networks use. Link-local, multicast and reserved
// addresses are never allowed.
func newGuard(private bool) *guard {
	prefix := netip.MustParsePrefix
	return &guard{
		private: private,
		strict:  ssrf.New(ssrf.WithAnyPort()),
		wide: ssrf.New(ssrf.WithAnyPort(),
			ssrf.WithAllowedV4Prefixes(prefix("127.0.0.0/8"), prefix("10.0.0.0/8"), prefix("172.16.0.0/12"),
				prefix("192.168.0.0/16"), prefix("100.64.0.0/10")),
			ssrf.WithAllowedV6Prefixes(prefix("::1/128"), prefix("fc00::/7"))),
	}
}

// metadata reports whether a cloud's metadata service listens on an address:
// those of Alibaba, Azure, AWS and Google that lie in public or private space,
// and so pass for one of these. 169.254.169.254, the usual one, is link-local.
func metadata(ip netip.Addr) bool {
	switch ip.String() {
	case "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254":
		return true
	}
	return false
}

var errForbidden = errors.New("not sent")

// control is a [net.Dialer]'s Control. Its error is an errForbidden.
func (g *guard) control(network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s is no address", errForbidden, address)
	}
	ip := at.Addr()
	switch {
	case metadata(ip) || g.wide.Safe(network, address, nil) != nil:
		return fmt.Errorf("%w: %s is an address that webhooks never reach", errForbidden, ip)
	case !g.private && g.strict.Safe(network, address, nil) != nil:
		return fmt.Errorf("%w: %s is in a private network, which needs allow_private = true", errForbidden, ip)
	}
	return nil
}

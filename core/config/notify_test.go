package config_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-af7fee88/foreman/core/config"
)

func TestNotifierFromThePluginDirectory(t *testing.T) {
	dir := t.TempDir()
	text := "[notify.ops]\nplugin = 'lamp'\n[plugins]\ndir = '" + dir + "'\n"
	if _, err := config.Parse("foreman.toml", []byte(text), environ()); err == nil {
		t.Error("a plugin that isn't there was taken")
	}
	path := filepath.Join(dir, "foreman-notifier-lamp")
	write(t, path, "")
	c := parse(t, "foreman.toml", text+"[plugins.lamp]\nsha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'")
	want := config.Plugin{Path: path, SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	if diff := cmp.Diff(want, c.Plugins.Notifier("lamp")); diff != "" {
		t.Error(diff)
	}
	if got := c.Notify.Named["ops"].Settings.Reveal(); got != "{}" {
		t.Errorf("without settings the plugin gets %s", got)
	}
}

// One plugin may be both, and then has the settings of both.
func TestPluginThatIsBackendAndNotifier(t *testing.T) {
	c := parse(t, "foreman.toml", "[target]\nbackend = 'both'\n[notify.ops]\nplugin = 'both'\nsettings.a = 1\n"+
		"[plugins.both]\npath = '/both'\nsettings.b = 2")
	if got := c.Notify.Named["ops"].Settings.Reveal(); got != `{"a":1}` {
		t.Errorf("the notifier gets %s", got)
	}
	if got := string(c.Plugins.Backend("both").Settings); got != `{"b":2}` {
		t.Errorf("the backend gets %s", got)
	}
}

func TestWebhookSecrets(t *testing.T) {
	const key = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"
	for _, secret := range []string{key, "whsec_" + key} {
		c := parse(t, "foreman.toml", "[notify.ops]\ntype = 'webhook'\nurl = 'http://a'\nsecret = '"+secret+"'")
		var settings struct{ Secret string }
		if err := json.Unmarshal([]byte(c.Notify.Named["ops"].Settings.Reveal()), &settings); err != nil || settings.Secret != secret {
			t.Errorf("%q became %q, %v", secret, settings.Secret, err)
		}
	}
}

func TestServiceURLs(t *testing.T) {
	for _, url := range []string{
		"ntfy://ntfy.sh/topic", "slack://hook:T00-B00-X@webhook", "discord://token@id", "smtp://u:p@mail.lan:587/?from=a@b&to=c@d",
		"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@ops", "matrix://:token@matrix.lan",
	} {
		parse(t, "foreman.toml", "[notify.ops]\ntype = 'service'\nurl = '"+url+"'")
	}
}

package dlp

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// maker makes up realistic values, the same in each run.
type maker struct{ *rand.Rand }

func (m maker) of(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[m.IntN(len(alphabet))]
	}
	return string(b)
}

func (m maker) hex(n int) string { return m.of("0123456789abcdef", n) }
func (m maker) alnum(n int) string {
	return m.of("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", n)
}
func (m maker) uuid() string {
	return m.hex(8) + "-" + m.hex(4) + "-4" + m.hex(3) + "-a" + m.hex(3) + "-" + m.hex(12)
}
func (m maker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

// traffic is what package managers, git, containers and browsers' servers say.
func traffic() []request {
	m := maker{rand.New(rand.NewPCG(20, 26))}
	var list []request
	add := func(name, target, form string, body []byte, fields ...string) {
		list = append(list, request{name: name, policy: ordinary, target: target, form: form, body: body,
			fields: append(headers("Host", "registry.example.com", "Accept", "*/*", "User-Agent", "client/1."+fmt.Sprint(len(list))), headers(fields...)...)})
	}
	for i := range 12 {
		b64 := func(n int) string { return base64.StdEncoding.EncodeToString(m.bytes(n)) }
		add("npm metadata", "/@types%2fnode?write=true", "", nil, "npm-session", m.hex(16), "npm-command", "install", "pacote-integrity", "sha512-"+b64(64),
			"If-None-Match", `"`+m.hex(32)+`"`, "Accept", "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*")
		add("npm tarball", fmt.Sprintf("/lodash/-/lodash-4.17.%d.tgz", i), "", nil)
		add("npm publish", "/engine", "application/json", []byte(jsonOf(map[string]any{"_id": "engine", "name": "engine", "dist-tags": map[string]string{"latest": "1.0.1"},
			"versions": map[string]any{"1.0.1": map[string]any{"_nodeVersion": "22.1.0", "dist": map[string]any{"integrity": "sha512-" + b64(64), "shasum": m.hex(40)}}},
			"_attachments": map[string]any{"engine-1.0.1.tgz": map[string]any{"content_type": "application/octet-stream", "length": 9999,
				"data": base64.StdEncoding.EncodeToString(packed(hashes(20 << 10)))}}})))
		add("npm audit", "/-/npm/v1/security/advisories/bulk", "application/json", []byte(`{"lodash":["4.17.20"],"token-types":["6.0.0"],"js-tokens":["9.0.1"],"keyv":["4.5.4"]}`))
		add("pip", "/simple/requests/", "", nil, "User-Agent", `pip/24.2 {"ci":null,"cpu":"x86_64","implementation":{"name":"CPython","version":"3.12.3"},"openssl_version":"OpenSSL 3.0.13 30 Jan 2024"}`)
		add("wheel", "/packages/"+m.hex(2)+"/"+m.hex(2)+"/"+m.hex(60)+"/requests-2.32.3-py3-none-any.whl", "", nil)
		add("go proxy", "/github.com/!burnt!sushi/toml/@v/v1.4.0.zip", "", nil)
		add("go sum", "/tile/8/1/x004/"+fmt.Sprint(100+i), "", nil)
		add("crate", "/api/v1/crates/serde/1.0.21"+fmt.Sprint(i)+"/download", "", nil)
		add("layer", "/v2/library/alpine/blobs/sha256:"+m.hex(64), "", nil, "Authorization", "Bearer "+jwt(m, 900))
		add("registry login", "/token?account=ada&client_id=docker&offline_token=true&scope=repository%3Alibrary%2Falpine%3Apull&service=registry.docker.io", "", nil)
		add("manifest", "/v2/ada/engine/manifests/latest", "application/vnd.oci.image.manifest.v1+json", []byte(fmt.Sprintf(
			`{"schemaVersion":2,"config":{"digest":"sha256:%s","size":1470},"layers":[{"digest":"sha256:%s","size":3370706}]}`, m.hex(64), m.hex(64))))
		add("git fetch", "/ada/engine.git/git-upload-pack", "application/x-git-upload-pack-request", []byte(strings.Repeat("0032want "+m.hex(40)+"\n0032have "+m.hex(40)+"\n", 40)+"00000009done\n"),
			"Git-Protocol", "version=2")
		add("git push", "/ada/engine.git/git-receive-pack", "application/x-git-receive-pack-request", append([]byte("00a7"+m.hex(40)+" "+m.hex(40)+" refs/heads/main\x00report-status-v2 side-band-64k object-format=sha1 agent=git/2.43.0\n0000PACK\x00\x00\x00\x02"), m.bytes(3000)...))
		add("pull request", "/repos/ada/engine/pulls", "application/json", []byte(jsonOf(map[string]any{"title": "Rotate the signing key", "head": "ada:key-rotation", "base": "main",
			"body": "Moves the key from the environment into the vault. Commit " + m.hex(40) + ", build " + m.uuid() + ".\n\n- [ ] token is renewed\n- [ ] password policy"})), "X-GitHub-Api-Version", "2022-11-28")
		add("graph", "/graphql", "application/json", []byte(jsonOf(map[string]any{"query": "query($owner:String!,$after:String){repository(owner:$owner,name:\"engine\"){issues(first:50,after:$after){pageInfo{endCursor hasNextPage}}}}",
			"variables": map[string]any{"owner": "ada", "after": "Y3Vyc29yOnYyOpK5MjAyNC0wMS0wMVQwMDowMDowMFrOAAAA" + m.alnum(8)}})))
		add("page", "/search?q=how+to+store+an+api+key&page_token="+m.alnum(40)+"&utm_source=x&cursor="+url.QueryEscape(b64(30)), "", nil,
			"Cookie", "session="+m.alnum(64)+"; csrftoken="+m.alnum(32)+"; _ga=GA1.2.1234567890."+m.of("0123456789", 10), "X-CSRF-Token", m.alnum(64),
			"Referer", "https://docs.example.com/keys?id="+m.uuid(), "traceparent", "00-"+m.hex(32)+"-"+m.hex(16)+"-01", "sec-websocket-key", b64(16))
		add("telemetry", "/v1/traces", "application/json", []byte(jsonOf(map[string]any{"resourceSpans": []any{map[string]any{"traceId": m.hex(32), "spanId": m.hex(16), "name": "GET /token",
			"startTimeUnixNano": "17636" + m.of("0123456789", 14), "attributes": []any{map[string]any{"key": "http.url", "value": map[string]string{"stringValue": "https://x.example.com/" + m.uuid()}}}}}})))
		add("form", "/login", "application/x-www-form-urlencoded", []byte("grant_type=authorization_code&code="+m.alnum(40)+"&code_verifier="+m.alnum(64)+"&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcallback"))
		add("lock file", "/upload", "text/plain", []byte(hashes(30<<10)))
		add("yarn lock", "/upload", "text/plain", []byte(strings.Repeat("\"@babel/core@^7.0.0\":\n  version \"7.26.0\"\n  resolved \"https://registry.yarnpkg.com/@babel/core/-/core-7.26.0.tgz#"+m.hex(40)+"\"\n  integrity sha512-"+b64(64)+"\n", 40)))
		add("cargo lock", "/upload", "text/plain", []byte(strings.Repeat("[[package]]\nname = \"api-key\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \""+m.hex(64)+"\"\n\n", 40)))
		add("ids", "/upload", "application/json", []byte(jsonOf(map[string]any{"ids": []string{m.uuid(), m.hex(40), m.hex(64), strings.ToUpper(m.hex(32)), "01J" + m.of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 23), hex.EncodeToString(m.bytes(20))}})))
		add("minified", "/upload", "application/javascript", []byte(minified(m, 400)))
		add("source that names a version of an API", "/upload", "text/plain", []byte("req.Header.Set(\"anthropic-beta\", \"oauth-2025-04-20,interleaved-thinking-2025-05-14\")\n"))
		add("certificates", "/upload", "text/plain", []byte(strings.Repeat("-----BEGIN CERTIFICATE-----\n"+lines(b64(1000), 64, "\n")+"\n-----END CERTIFICATE-----\n", 140)))
		add("commands", "/upload", "text/markdown", []byte(strings.Repeat("    curl -sS -H 'Accept: application/json' -u \"$USER:$PASS\" https://api.example.com/v1/x | jq .\n\n", 200)))
		add("cursors", "/graphql", "application/json", []byte(jsonOf(cursors(m, 400))))
		add("links", "/upload", "text/html", []byte(strings.Repeat("<a href=\"https://www.example.com/a?b=c&amp;key="+m.uuid()+"\">ada@example.com</a>\n", 1000)))
		add("headers", "/upload", "text/markdown", []byte(strings.Repeat("| `-----BEGIN EC PRIVATE KEY-----` | SEC1 | `-----BEGIN PUBLIC KEY-----` |\n", 50)))
		add("numbers", "/upload", "application/json", []byte(jsonOf(floats(m, 1000))))
	}
	return list
}

// jwt is a token that a registry gave.
func jwt(m maker, n int) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(`{"iss":"auth.example.com","sub":"`+m.alnum(n/2)+`"}`) + "." + base64.RawURLEncoding.EncodeToString(m.bytes(256))
}

func floats(m maker, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = m.NormFloat64()
	}
	return list
}

// cursors are places in lists, as servers encode them.
func cursors(m maker, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf(`{"id":%d,"key":"%s"}`, m.IntN(1e9), m.hex(16))))
	}
	return list
}

// minified is JavaScript as a bundler writes it.
func minified(m maker, n int) string {
	var b strings.Builder
	b.WriteString(`!function(e,t){"object"==typeof exports?module.exports=t():e.lib=t()}(this,function(){"use strict";`)
	for range n {
		x, y := m.of("abcdefghijklmnopqrstuvwxyz", 1), m.of("abcdefghijklmnopqrstuvwxyzABCDEFG_$", 2)
		fmt.Fprintf(&b, `var %s=function(e){return e&&e.__esModule?e.default:e}(%s),k%s={key:%s.keyCode,token:s.nextToken(%s),apiKey:void 0,secretKey:e.secretKey||null,`+
			`password:r.querySelector("input[type=password]"),accessToken:t.getItem("accessToken"),s:"%s"};`, x, y, y, x, y, m.of("abcdefghij", 5))
	}
	return b.String() + "});\n//# sourceMappingURL=data:application/json;base64," + base64.StdEncoding.EncodeToString([]byte(`{"version":3,"mappings":"AAAA,SAASA,EAAEC"}`))
}

// talk is what people and models say of secrets.
func talk() []request {
	var list []request
	for i, s := range []string{
		"Set ANTHROPIC_API_KEY=sk-ant-xxxx and try again.",
		"export ANTHROPIC_API_KEY=\"sk-ant-api03-" + strings.Repeat("x", 93) + "AA\"",
		"OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"api_key: your-api-key-here\ntoken: <YOUR_TOKEN>\npassword: changeme",
		"aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"A PEM file begins with -----BEGIN RSA PRIVATE KEY----- and ends with -----END RSA PRIVATE KEY-----.",
		"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
		"-----BEGIN CERTIFICATE-----\n" + lines(base64.StdEncoding.EncodeToString(random(900)), 64, "\n") + "\n-----END CERTIFICATE-----",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@example.com",
		"The token of jwt.io: eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
		"Pay with 4242 4242 4242 4242, or 5555555555554444, or 378282246310005.",
		"re := regexp.MustCompile(`\\b(sk-ant-api03-[a-zA-Z0-9_\\-]{93}AA)`) // and ghp_[0-9a-zA-Z]{36}, AKIA[A-Z2-7]{16}, xox[baprs]-",
		"ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx is what a GitHub token looks like; glpat-xxxxxxxxxxxxxxxxxxxx is GitLab's.",
		"STRIPE_KEY=sk_test_xxxxxxxxxxxxxxxxxxxxxxxx\nSTRIPE_WEBHOOK=whsec_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"DATABASE_URL=postgres://postgres:postgres@localhost:5432/app_development\nREDIS_URL=redis://:password@redis:6379/0",
		"git clone https://user:token@git.example.com/ada/engine.git and https://ada:${TOKEN}@example.com",
		"the sha256 is 0x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, commit 95d09f2b10159347eece71399a7e2e907ea3df4f",
		"process.env.API_KEY, os.environ[\"SECRET_KEY\"], ${{ secrets.NPM_TOKEN }}, {{ .Values.apiToken }}, %API_KEY%, $GITHUB_TOKEN",
		"token = get_token_from_keyring(service_name, account_name)\nsecret_key_base = Rails.application.credentials.secret_key_base",
		"const apiKeyHeaderName = 'x-api-key-authorization'; let accessTokenExpiresIn = 3600000; passwordResetTokenLifetime: 86400",
		"Authorization: Bearer <token>\nX-Api-Key: $(cat key.txt)\ncurl -H 'Authorization: Bearer $TOKEN' -u user:password https://api.example.com",
		"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about is the phrase of BIP-39's examples.",
		"The quick brown fox jumps over the lazy dog while the actor will act above the ability of any abstract accident to absorb.",
		"Key: value. The key is 5. Token count: 1234567890123. auth: none; api: v1beta1-internal-2024",
		"IBAN DE89 3704 0044 0532 0130 00 and GB82WEST12345698765432 are from the documentation.",
		"kind: Secret\nmetadata:\n  name: db\ndata:\n  password: {{ .Values.password | b64enc }}",
		"uuid 123e4567-e89b-12d3-a456-426614174000, heroku app f47ac10b-58cc-4372-a567-0e02b2c3d479",
		"HEROKU_API_KEY=00000000-0000-0000-0000-000000000000 TWILIO=SKxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"SSN 123-45-6789 and 078-05-1120 are not anybody's. Call 555-12-3456789.",
		"hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx npm_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx pypi-AgEIcHlwaS5vcmcxxxxxxxx",
	} {
		name := fmt.Sprintf("about secrets %d", i)
		list = append(list, conversation(name, s, "I see.", "And as a string in a string: "+jsonOf(s)),
			request{name: "posted: " + name, policy: ordinary, target: "/comments", form: "application/json", body: []byte(jsonOf(map[string]string{"body": s}))},
			request{name: "posted as text: " + name, policy: ordinary, target: "/comments", form: "text/markdown", body: []byte(s)})
	}
	return list
}

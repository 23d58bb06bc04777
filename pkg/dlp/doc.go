// Package dlp finds secrets in what an agent sends: keys by their format, and
// the bottle's own secrets by their value, in whatever encoding. It is pure: it
// opens nothing and decides with values. What it cannot read it refuses.
//
//	rules := dlp.Default()                               // once a process
//	s, err := dlp.New(rules, known, dlp.Options{Key: k}) // anew when known secrets change
//
//	q := s.Request(dlp.Policy{Host: "api.github.com", Allow: exceptions})
//	defer q.Close()
//	err := q.Head(target, fields)               // before anything is forwarded; or, for a connection's, LastHead.Head
//	b, err := q.Body(contentType, contentEncoding)
//	_, err = b.Write(chunk)                     // before that chunk is forwarded
//	err = b.Close()                             // before the last byte is forwarded
//	err = q.Trailers(fields)
//
// Every error is a *Finding (a secret, and where it stands) or a *Refusal (why
// it cannot be scanned), and stays: the request must not be completed. A body
// may be written in pieces of any size. Passed says which exceptions a request
// has needed so far, for who counts them. What Write has let pass may hold all of
// a secret but its end, so that a body's last byte waits for Close. Who lets the
// rest of a body that is too large pass unscanned neither writes nor closes it.
//
// # Rules
//
// Rules are gitleaks', translated by rulegen into rules.jsonl, and our own. In
// one pass an automaton finds the keywords of all rules; a rule's expression is
// compiled when it is first needed and tried only where its keyword stood, on
// at most a few kilobytes. How much expressions may look at in all is
// proportional to the body (TooDense beyond that), so that no body makes the
// scan slow.
//
// A rule's class says where it is tried. Format (a key's own format, case and
// all): everywhere, and in what is decoded. Service (a value assigned to a
// service's name) and Generic (something random assigned to a name such as
// token): in bodies as they are sent to hosts that are not the agent's model;
// not in targets and headers, which are full of random values, but for the few
// rules that say so. Card numbers are looked for in targets and headers only.
// Rules of sessions (a JWT, a session's cookie) do not hold in a credential
// header or a cookie: it is how a host gets back what it gave.
//
// # Known secrets
//
// A known secret of at least MinKnown bytes is found as it is, in base64 at any
// alignment and in either alphabet, base32, base58, hexadecimal, decimal, binary,
// percent-, JSON-, HTML- and quoted-printable escapes, UTF-16, rot13, reversed,
// and these beneath two further layers of encoding or compression. Only letters and digits are compared, and those
// without case: whatever stands between them (line breaks, separators, padding,
// quotes) hides nothing. Of a value longer than 48 bytes the middle 48 are
// looked for.
//
// A value in parts is found in two ways, over all of a request: target, header
// fields, cookies, body and trailers.
//   - Fields that follow one another are read as one: a value cut into any
//     number of parts in consecutive values of a JSON text, form, query or
//     header is found.
//   - One field ends with the first part of a value (or of its base64, its
//     hexadecimal, its reverse) and another, anywhere and in any order, begins
//     with the rest. Each part has at least four letters or digits, and the
//     value both letters and digits.
//
// The messages of one connection (Scanner.Message) are read as one too, in both
// ways: a Conversation remembers what those before have shown.
//
// A known secret with Hosts may be sent to these in a Field marked Credential,
// whole, and nowhere else. No exception holds for a known secret.
//
// # Bodies
//
// Content-Encoding gzip, deflate, br and zstd are undone to a bound; another is
// refused, and so is data that does not decode, and a multipart body that
// cannot be read. What is encoded is scanned as it is as well: formats have room
// for comments. Compressed data and zip archives are undone too where a body, a
// part or what was decoded begins with one. JSON (by its type, or by how it begins), forms and multipart
// are taken apart so that a finding says where it stands; everything else is
// bytes. Nothing is left out: what is no JSON is scanned as text.
package dlp

package core

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// An Inventory is a list of installed models, immutable, with the replies
// that are made of it.
type Inventory struct {
	Models      []Model // newest first as Ollama sorts, then by name
	Fingerprint string  // the backend's, for its next look; "" after a restart

	Tags   Reply // GET /api/tags
	OpenAI Reply // GET /v1/models

	index map[ModelName]int
	v1    func() Reply // encodes it the first time
}

// A Reply is a body that is encoded once and served many times.
type Reply struct {
	Body []byte
	ETag string // a strong one, quoted
}

// SortModels sorts as Ollama does, newest first, and what is of the same
// moment by name.
func SortModels(models []Model) {
	newest := func(a, b Model) int {
		return cmp.Or(b.ModifiedAt.Compare(a.ModifiedAt), strings.Compare(a.Name, b.Name))
	}
	if slices.IsSortedFunc(models, newest) {
		return // as it mostly comes
	}
	sorted := make([]*Model, len(models)) // a pointer moves faster than a Model
	for i, m := range models {
		sorted[i] = &m
	}
	slices.SortStableFunc(sorted, func(a, b *Model) int { return newest(*a, *b) })
	for i, m := range sorted {
		models[i] = *m
	}
}

// NewInventory takes the models of one answer, in any order, and owns the
// slice from then on. Of two models with the same name the newer one stays.
func NewInventory(models []Model, fingerprint string) *Inventory {
	SortModels(models)
	inv := &Inventory{
		Models:      make([]Model, 0, len(models)),
		Fingerprint: fingerprint,
		index:       make(map[ModelName]int, len(models)),
	}
	openAI := make([]OpenAIModel, 0, len(models))
	for _, m := range models {
		// Without a name it is listed, since the target lists it, but nobody
		// can ask for it.
		name := NameOf(m.Name)
		if name != (ModelName{}) {
			if _, seen := inv.index[name]; seen {
				continue
			}
			inv.index[name] = len(inv.Models)
		}
		inv.Models = append(inv.Models, m)
		openAI = append(openAI, m.openAI(m.Name, name))
	}
	inv.Tags = encodeList(modelsOpen, len(inv.Models), func(i int) json.RawMessage { return inv.Models[i].Raw })
	inv.OpenAI = encodeOpenAI(openAI)
	inv.v1 = sync.OnceValue(func() Reply {
		return encodeList(`{"object":"list","data":[`, len(inv.Models), func(i int) json.RawMessage {
			return inv.Models[i].V1(inv.Models[i].Name)
		})
	})
	return inv
}

// V1 is the reply to GET /v1/models where the target itself has that route:
// the list of what [Model.V1] returns. It is encoded once, when somebody asks.
func (inv *Inventory) V1() Reply { return inv.v1() }

// Find returns the model that name means. It works on a nil Inventory.
func (inv *Inventory) Find(name ModelName) (Model, bool) {
	if inv == nil {
		return Model{}, false
	}
	i, ok := inv.index[name]
	if !ok {
		return Model{}, false
	}
	return inv.Models[i], true
}

// Near returns installed names that somebody who wrote name may have meant.
func (inv *Inventory) Near(name string) []string {
	if inv == nil {
		return nil
	}
	names := make([]string, len(inv.Models))
	for i, m := range inv.Models {
		names[i] = m.Name
	}
	return Near(name, names)
}

// Residency is a list of resident models, immutable, with its reply.
type Residency struct {
	Models []Resident // in the target's order
	PS     Reply      // GET /api/ps
}

// Has reports whether a model is resident; none is in a nil Residency.
func (r *Residency) Has(model ModelName) bool {
	return r != nil && slices.ContainsFunc(r.Models, func(m Resident) bool { return NameOf(m.Name) == model })
}

// NewResidency takes the residents of one answer and owns the slice.
func NewResidency(residents []Resident) *Residency {
	return &Residency{
		Models: residents,
		PS:     encodeList(modelsOpen, len(residents), func(i int) json.RawMessage { return residents[i].Raw }),
	}
}

// modelsOpen begins the lists of Ollama's own routes.
const modelsOpen = `{"models":[`

// encodeList writes n raw objects between open and what closes its list and
// its object.
func encodeList(open string, n int, raw func(int) json.RawMessage) Reply {
	size := len(open) + len(`]}`) + n
	for i := range n {
		size += len(raw(i))
	}
	body := make([]byte, 0, size)
	body = append(body, open...)
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, raw(i)...)
	}
	return newReply(append(body, `]}`...))
}

// OpenAIModel is an entry of GET /v1/models, and the answer of
// /v1/models/{id}; the shape is Ollama's own.
type OpenAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`   // "model"
	Created int64  `json:"created"`  // 0 if nobody knows
	OwnedBy string `json:"owned_by"` // the name's namespace
}

// OpenAI is m in OpenAI's shape under the name that the caller uses for it.
func (m Model) OpenAI(id string) OpenAIModel {
	return m.openAI(id, NameOf(m.Name)) // of what was taken literally nobody is the owner
}

func (m Model) openAI(id string, name ModelName) OpenAIModel {
	return OpenAIModel{ID: id, Object: "model", Created: max(0, m.ModifiedAt.Unix()), OwnedBy: name.Namespace()}
}

// V1 is m as a target that speaks /v1 lists it there, with whatever fields
// that adds: Raw, if it has an id. Else it is m in OpenAI's shape under id.
func (m Model) V1(id string) json.RawMessage {
	var entry struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(m.Raw, &entry) == nil && entry.ID != "" {
		return m.Raw
	}
	raw, err := json.Marshal(m.OpenAI(id))
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return raw
}

func encodeOpenAI(models []OpenAIModel) Reply {
	body, err := json.Marshal(struct {
		Object string        `json:"object"`
		Data   []OpenAIModel `json:"data"`
	}{"list", models})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return newReply(body)
}

func newReply(body []byte) Reply {
	sum := sha256.Sum256(body)
	return Reply{Body: body, ETag: `"` + hex.EncodeToString(sum[:16]) + `"`}
}

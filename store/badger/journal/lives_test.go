package journal

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var lives = flag.Int("journal.lives", 5_000, "how many lives of a journal are played through")

// disk is the files of a journal on a machine whose power may fail: then each
// sector that was written since the last sync is on the disk or not. The disk
// may also fail to sync, and does then whatever it likes.
type disk struct {
	r     *rand.Rand
	files [2]*diskFile
}

type diskFile struct {
	disk    *disk
	now     []byte // as the kernel has it
	durable []byte
	dirty   map[int]bool // sectors
	fails   bool         // the next write, or sync
}

const sector = 512

func (f *diskFile) WriteAt(b []byte, at int64) (int, error) {
	if f.fails && f.disk.r.IntN(2) == 0 {
		f.fails = false
		b = b[:f.disk.r.IntN(len(b)/sector+1)*sector] // no sector is written in part
		f.write(b, at)
		return len(b), fmt.Errorf("a write that fails")
	}
	f.write(b, at)
	return len(b), nil
}

func (f *diskFile) write(b []byte, at int64) {
	copy(f.now[at:], b)
	for s := int(at) / sector; len(b) > 0 && s <= (int(at)+len(b)-1)/sector; s++ {
		f.dirty[s] = true
	}
}

func (f *diskFile) Data() error {
	if f.fails { // and the kernel takes for clean what is not on the disk
		f.fails = false
		f.writeSome()
		clear(f.dirty)
		return fmt.Errorf("a sync that fails")
	}
	for s := range f.dirty {
		copy(f.durable[s*sector:(s+1)*sector], f.now[s*sector:])
	}
	clear(f.dirty)
	return nil
}

// writeSome has some of what is dirty reach the disk.
func (f *diskFile) writeSome() {
	for s := range f.dirty {
		if f.disk.r.IntN(2) == 0 {
			copy(f.durable[s*sector:(s+1)*sector], f.now[s*sector:])
		}
	}
}

func (*diskFile) Close() error { return nil }

// powerLoss leaves what is on the disk.
func (d *disk) powerLoss() {
	for _, f := range d.files {
		f.writeSome()
		copy(f.now, f.durable)
		clear(f.dirty)
	}
}

func (d *disk) read(path string) ([]byte, error) {
	for i, name := range names {
		if path == name {
			return append([]byte(nil), d.files[i].now...), nil
		}
	}
	return nil, fmt.Errorf("%s is not there", path)
}

// Over a long random life (records, rotations, checkpoints, failed writes and
// syncs, kills, and power losses at once or later) what was acknowledged is told
// at each start, in its order, unless the database has it; and nothing is taken
// for damage.
func TestRandomLives(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	for life := range *lives {
		r := rand.New(rand.NewPCG(seed, uint64(life)))
		const size = 2 * pageSize
		d := &disk{r: r}
		j := &Journal{options: Options{FileSize: size}, number: 1}
		empty := header{version: version, kind: plain, first: 1, size: size}
		for i := range d.files {
			d.files[i] = &diskFile{disk: d, now: make([]byte, size), durable: make([]byte, size), dirty: make(map[int]bool)}
			j.files[i] = d.files[i]
			require.NoError(t, empty.write(j.files[i]))
		}
		require.NoError(t, j.Rotate(0))

		var active, other []string // acknowledged, and perhaps not in the database
		var doubtful []string      // not acknowledged, and one of them perhaps kept
		var checkpoint uint64      // all that is in the other file, or before
		inDatabase := true         // what the other file has
		for n := range r.IntN(60) {
			switch what := r.IntN(100); {
			case what < 70:
				record := []byte(fmt.Sprint(n, string(make([]byte, r.IntN(1500)))))
				if !j.Fits(len(record)) {
					if !inDatabase {
						inDatabase, checkpoint = true, j.Last()-uint64(len(active))
					}
					last := j.Last()
					if r.IntN(10) == 0 {
						d.files[1-j.active].fails = true
					}
					if j.Rotate(checkpoint) != nil {
						d.files[1-j.active].fails = false
						continue
					}
					other, active, inDatabase = active, nil, false
					require.Equal(t, last, j.Last())
				}
				if r.IntN(20) == 0 {
					d.files[j.active].fails = true
				}
				if err := j.Append(record); err != nil {
					doubtful = append(doubtful, string(record))
					continue
				}
				d.files[j.active].fails = false
				active, doubtful = append(active, string(record)), nil
			case what < 80: // the database has what the other file has
				inDatabase, checkpoint = true, j.Last()-uint64(len(active))
			default:
				kind := r.IntN(3)
				if kind > 0 {
					d.powerLoss()
				}
				c := &Contents{read: d.read}
				require.NoError(t, c.find(names[:]), "life %d step %d", life, n)
				var got []string
				require.NoError(t, c.Replay(nil, false, func(records [][]byte) error {
					for _, r := range records {
						got = append(got, string(r))
					}
					return nil
				}))
				want := append(other[:len(other):len(other)], active...)
				if len(got) > 0 && slices.Contains(doubtful, got[len(got)-1]) {
					want = append(want, got[len(got)-1])
				}
				if len(got) < len(want) && inDatabase { // no need to tell what the database has
					want = want[len(want)-len(got):]
					require.GreaterOrEqual(t, len(got), len(active), "life %d step %d", life, n)
				}
				require.Equal(t, len(want), len(got), "life %d step %d", life, n)
				require.Equal(t, want, got, "life %d step %d", life, n)

				// The start: all of it is in the database, and the files begin anew. The
				// power may fail again meanwhile.
				j = &Journal{options: Options{FileSize: size}, number: c.Last + 1}
				empty := header{version: version, kind: plain, first: j.number, checkpoint: c.Last, size: size}
				for i := range d.files {
					j.files[i] = d.files[i]
					require.NoError(t, empty.write(j.files[i]))
					if r.IntN(4) == 0 {
						d.powerLoss()
						c := &Contents{read: d.read}
						require.NoError(t, c.find(names[:]), "life %d step %d", life, n)
						require.True(t, c.Empty())
					}
				}
				require.NoError(t, j.Rotate(c.Last))
				active, other, doubtful, checkpoint, inDatabase = nil, nil, nil, c.Last, true
			}
		}
	}
}

package jobs

// Followed is how many jobs somebody follows, or run here.
func (j *Jobs) Followed() int {
	j.topics.mu.Lock()
	defer j.topics.mu.Unlock()
	return len(j.topics.byID)
}

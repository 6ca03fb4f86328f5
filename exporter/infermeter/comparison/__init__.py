"""Two stretches of a server's life, compared: what a change did to cost, energy and the SLA, and how sure that is. Pure."""

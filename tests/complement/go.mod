// Pins Complement. Nothing here is compiled: tests/complement/run downloads the module and runs its tests from a copy.
module myelin/tests/complement

go 1.25.0

require github.com/matrix-org/complement v0.0.0-20260701165844-50044edb68c3

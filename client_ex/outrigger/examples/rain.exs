# Rain on a real landscape, computed in place by a supervised daemon:
#
#     mix run examples/rain.exs [DIRECTORY]
#
# The program writes two pictures to the directory (default: $OUTRIGGER_DEMO_OUT or ./demo_out),
# compares the daemon with plain Elixir, and kills the daemon to show how the client recovers. The
# program succeeds only if each stage succeeds.

for file <- ~w(screen png terrain step plain render forum compare crash demo) do
  Code.require_file("rain/#{file}.ex", __DIR__)
end

Rain.Demo.run(System.argv())

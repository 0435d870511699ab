defmodule Outrigger.TelemetryTest do
  # Not async: the fake module is seen by every server that starts meanwhile.
  use Outrigger.DaemonCase, async: false

  # A replacement of :telemetry: execute/3, called in the process where the event happens.
  defmodule Fake do
    def load(test) do
      :persistent_term.put(__MODULE__, test)

      {:module, :telemetry, _, _} =
        Module.create(
          :telemetry,
          quote do
            def execute(event, measurements, metadata),
              do: unquote(__MODULE__).execute(event, measurements, metadata)
          end,
          Macro.Env.location(__ENV__)
        )
    end

    def unload do
      :code.purge(:telemetry)
      :code.delete(:telemetry)
      :code.purge(:telemetry)
      Outrigger.Telemetry.setup()
      :persistent_term.erase(__MODULE__)
    end

    def execute(event, measurements, metadata),
      do: send(:persistent_term.get(__MODULE__), {event, measurements, metadata})
  end

  setup do
    if Code.ensure_loaded?(:telemetry), do: raise("this test brings its own :telemetry")
    Fake.load(self())
    on_exit(&Fake.unload/0)
  end

  test "a daemon's life, errors, leases and failed callbacks" do
    server = start_server(on_restart: fn _ -> raise "no state to rebuild" end)

    assert_receive {[:outrigger, :daemon, :up], %{duration_ms: duration}, up}, 1_000
    assert duration >= 0
    assert %{server: ^server, restart: false, os_pid: os_pid} = up
    assert os_pid == os_pid(server) and is_integer(up.epoch)

    Op.add(Outrigger.iota(server, {2}), Outrigger.iota(server, {3}))
    assert {:error, %Error{code: :bad_shape}} = Outrigger.sync(server)
    assert_receive {[:outrigger, :request, :error], %{count: 1}, %{server: ^server} = failed}
    assert %Error{code: :bad_shape, op: "add"} = failed.error

    Outrigger.release(Outrigger.iota(server, {2}))
    assert_receive {[:outrigger, :lease, :released], %{count: 1}, %{server: ^server}}, 1_000

    ExUnit.CaptureLog.capture_log(fn ->
      kill(os_pid, "KILL")

      assert_receive {[:outrigger, :daemon, :down], %{pending: pending}, down}, 1_000
      assert pending >= 0
      assert %{server: ^server, os_pid: ^os_pid, status: _} = down

      assert_receive {[:outrigger, :daemon, :up], _, %{server: ^server, restart: true}}, 5_000

      # Attempts to connect may have failed before.
      assert_receive {[:outrigger, :restart, :failed], %{count: 1},
                      %{server: ^server, error: %RuntimeError{message: "no state to rebuild"}}},
                     1_000
    end)
  end
end

defmodule Outrigger.GoneTest do
  @moduledoc "A server that is gone is a ConnectionError of reason :closed, from every function."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.Server

  @moduletag :capture_log

  defp start do
    Process.flag(:trap_exit, true)
    name = :"gone_#{System.unique_integer([:positive])}"
    {:ok, supervisor} = Outrigger.start_link(server_options(name: name, log: :none))
    tensor = Outrigger.await!(Outrigger.tensor(name, [1.0, 2.0]))
    prepared = Outrigger.prepare!(name, Outrigger.program(&Op.add(&1, 1)))
    prepared_empty = Outrigger.prepare!(name, Outrigger.program(fn -> Op.iota({2}) end))

    {supervisor,
     %{server: name, pid: supervisor, tensor: tensor, prepared: prepared, empty: prepared_empty}}
  end

  defp await_end(supervisor) do
    ref = Process.monitor(supervisor)
    assert_receive {:DOWN, ^ref, _, _, _}, 20_000
  end

  # More often than the supervisor allows.
  defp end_server(:restart_intensity, supervisor) do
    for _ <- 1..10, Process.alive?(supervisor) do
      for {Outrigger.Connection, pid, _, _} when is_pid(pid) <- children(supervisor),
          do: Process.exit(pid, :kill)

      Process.sleep(30)
    end
  end

  defp end_server(:kill, supervisor), do: Process.exit(supervisor, :kill)

  defp end_server(:kill_all, supervisor) do
    pids = for {_, pid, _, _} <- children(supervisor), do: pid
    for pid <- [supervisor | pids], do: Process.exit(pid, :kill)
  end

  defp end_server(:stop, supervisor), do: Outrigger.stop(supervisor)

  defp children(supervisor) do
    Supervisor.which_children(supervisor)
  catch
    :exit, _ -> []
  end

  # The calls of the public functions, by the kind of their outcome.
  defp calls(server, %{tensor: t, prepared: prepared, empty: empty}) do
    program = Outrigger.program(&Op.add(&1, 1))
    file = Path.join(System.tmp_dir!(), "outrigger_gone.npy")

    [
      # raise
      raise: [
        tensor: fn -> Outrigger.tensor(server, [1]) end,
        from_binary: fn -> Outrigger.from_binary(server, <<1>>, :u8, {1}) end,
        from_range: fn -> Outrigger.from_range(server, 1..3) end,
        iota: fn -> Outrigger.iota(server, {3}) end,
        load_npy: fn -> Outrigger.load_npy(server, file) end,
        load_npz: fn -> Outrigger.load_npz(server, file) end,
        load_raw: fn -> Outrigger.load_raw(server, file, :u8, {1}) end,
        load_csv: fn -> Outrigger.load_csv(server, file) end,
        run: fn -> Outrigger.run(server, program, [t]) end,
        run_empty: fn -> Outrigger.run(server, Outrigger.program(fn -> Op.iota({2}) end), []) end,
        run_deadline: fn -> Outrigger.run(server, program, [t], deadline: 100) end,
        call: fn -> Outrigger.call(prepared, [t]) end,
        call_empty: fn -> Outrigger.call(empty, []) end,
        scope: fn -> Outrigger.scope(server, fn -> :ok end) end,
        collect: fn -> Outrigger.collect(server) end,
        stop: fn -> Outrigger.stop(server) end,
        op_iota: fn -> Op.iota(server, {3}) end,
        op_add: fn -> Op.add(t, 1) end,
        op_while: fn -> Op.while(t, &Op.less(&1, 0.0), &Op.add(&1, 1.0)) end,
        op_call: fn -> Op.call(prepared, [t]) end,
        in_place: fn -> InPlace.add(t, 1) end,
        in_place_view: fn -> InPlace.reshape(t, {2, 1}) end
      ],
      # give {:error, _}
      wait: [
        save_npy: fn -> Outrigger.save_npy(t, file) end,
        save_npz: fn -> Outrigger.save_npz(%{t: t}, file) end,
        to_list: fn -> Outrigger.to_list(t) end,
        to_flat_list: fn -> Outrigger.to_flat_list(t) end,
        to_binary: fn -> Outrigger.to_binary(t) end,
        to_iodata: fn -> Outrigger.to_iodata(t) end,
        to_number: fn -> Outrigger.to_number(t) end,
        peek: fn -> Outrigger.peek(t, 1) end,
        shape: fn -> Outrigger.shape(t) end,
        type: fn -> Outrigger.type(t) end,
        await: fn -> Outrigger.await(t) end,
        prepare: fn -> Outrigger.prepare(server, program) end,
        call_and_wait: fn -> Outrigger.call_and_wait(prepared, [t]) end,
        call_and_wait_empty: fn -> Outrigger.call_and_wait(empty, []) end,
        profile: fn -> Outrigger.profile(prepared, [t]) end,
        sync: fn -> Outrigger.sync(server) end,
        ping: fn -> Outrigger.ping(server) end,
        info: fn -> Outrigger.info(server) end,
        info_of_tensor: fn -> Outrigger.info(t) end,
        await_ready: fn -> Outrigger.await_ready(server) end
      ],
      # There is nothing left to do.
      done: [
        release: fn -> {Outrigger.release(t), :ok} end,
        cancel: fn -> {Outrigger.cancel(t), false} end,
        inspect: fn -> {inspect(t), "#Outrigger.Tensor<stale>"} end
      ]
    ]
  end

  # The functions of one operand, by the catalogue.
  defp unary, do: for({name, 1} <- Op.__info__(:functions), do: name)

  defp outcome(fun) do
    fun.()
  rescue
    error -> {:raised, error}
  catch
    kind, reason -> {kind, reason}
  end

  for how <- [:restart_intensity, :kill, :kill_all, :stop] do
    test "after #{how}" do
      {supervisor, given} = start()
      end_server(unquote(how), supervisor)
      await_end(supervisor)
      name = given.server

      # At once, while its end is still being told, and when it has been.
      for server <- [name, given.pid, name], _ = eventually(fn -> gone?(name) end, 10) do
        [raise: raising, wait: waiting, done: done] = calls(server, given)

        for {name, fun} <- raising do
          result = outcome(fun)

          assert match?({:raised, %ConnectionError{reason: :closed}}, result),
                 "#{name}: #{inspect(result)}"
        end

        for {name, fun} <- waiting do
          result = outcome(fun)

          assert match?({:error, %ConnectionError{reason: :closed}}, result),
                 "#{name}: #{inspect(result)}"
        end

        for {name, fun} <- done do
          result = outcome(fun)
          assert match?({same, same}, result), "#{name}: #{inspect(result)}"
        end
      end

      for function <- unary(), do: closed!(Op, function, given.tensor)
      assert eventually(fn -> gone?(name) end)
    end
  end

  defp closed!(module, function, tensor) do
    result = outcome(fn -> apply(module, function, [tensor]) end)

    case result do
      {:raised, %ConnectionError{reason: :closed}} -> :ok
      # The function takes another argument than a tensor.
      {:raised, %struct{}} when struct in [ArgumentError, FunctionClauseError] -> :ok
      other -> flunk("#{function}: #{inspect(other)}")
    end
  end

  defp gone?(name), do: :persistent_term.get({Server, name}, nil) == nil

  test "many ops were among them" do
    assert length(unary()) > 50
  end

  test "a server that never was" do
    for {_, calls} <- [raise: [fn -> Outrigger.tensor(:nobody, 1) end]], fun <- calls do
      assert {:raised, %ConnectionError{reason: :closed}} = outcome(fun)
    end

    assert {:error, %ConnectionError{reason: :closed}} = Outrigger.ping(:nobody)
    assert_raise ArgumentError, fn -> Outrigger.ping("nobody") end
  end

  test "another server of the same name is not taken away by the end of the first" do
    Process.flag(:trap_exit, true)

    options = server_options(name: :twice, log: :none)

    for _ <- 1..10 do
      {:ok, first} = Outrigger.start_link(options)
      Process.exit(first, :kill)
      await_end(first)
      {:ok, second} = start_again(options)
      assert Outrigger.to_list(Outrigger.tensor(:twice, [1])) == {:ok, [1]}
      Outrigger.stop(second)
    end
  end

  # The name is free a moment after the end.
  defp start_again(options) do
    case Outrigger.start_link(options) do
      {:error, {:already_started, _}} -> start_again(options)
      other -> other
    end
  end

  test "callers get an error when their server ends during their calls" do
    {supervisor, given} = start()

    tasks =
      for _ <- 1..20 do
        Task.async(fn -> work_until_closed(given.server, given.tensor) end)
      end

    Process.sleep(50)
    Process.exit(supervisor, :kill)
    for task <- tasks, do: assert(%ConnectionError{reason: :closed} = Task.await(task, 20_000))
  end

  defp work_until_closed(server, tensor) do
    fresh = Outrigger.tensor(server, [1.0, 2.0])

    case Outrigger.to_list(Op.add(tensor, fresh)) do
      {:ok, _} -> work_until_closed(server, tensor)
      {:error, error} -> error
    end
  rescue
    error in ConnectionError -> error
  end
end

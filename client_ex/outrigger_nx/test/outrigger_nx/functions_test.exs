defmodule Outrigger.Nx.FunctionsTest do
  # The compiled programs of functions, and the end of their entries. Not async, because the tests
  # clear the cache of all processes.
  use ExUnit.Case
  import Outrigger.Nx.Wait
  alias Outrigger.Nx.{Backend, Cache, Captured}

  # Clears the cache of all processes, because tests have several.
  setup do
    before = Nx.Defn.global_default_options(compiler: Outrigger.Nx)
    on_exit(fn -> Nx.Defn.global_default_options(before) end)
  end

  defp compile(source) do
    Code.with_diagnostics(fn -> Code.compile_string(source) end)
    :ok
  end

  defp helper(factor) do
    compile("""
    defmodule Outrigger.Nx.FunctionsTest.Helper do
      import Nx.Defn
      defn scale(x), do: x * #{factor}
      def plain(x), do: Nx.multiply(x, #{factor})
    end
    """)
  end

  defp caller(addend) do
    compile("""
    defmodule Outrigger.Nx.FunctionsTest.Caller do
      import Nx.Defn
      defn run(x), do: Outrigger.Nx.FunctionsTest.Helper.scale(x) + #{addend}
      defn with_options(x, opts \\\\ []),
        do: Outrigger.Nx.FunctionsTest.Helper.scale(x) + opts[:add]
      def fun, do: fn x -> Outrigger.Nx.FunctionsTest.Helper.plain(x) end
    end
    """)
  end

  alias __MODULE__.{Caller, Helper}

  describe "a module that is compiled again" do
    # Called by name: the modules are not there when this file is compiled.
    defp run(name, args), do: Nx.to_number(apply(Caller, name, args))

    test "the function's own, or one that it calls" do
      helper(2)
      caller(1)
      fun = apply(Caller, :fun, [])
      captured = &apply(Helper, :plain, [&1])
      # As in a shell.
      {typed, _} = Code.eval_string("fn x -> #{inspect(Helper)}.plain(x) end")

      values = fn ->
        {run(:run, [5]), run(:with_options, [5, [add: 7]]), Nx.to_number(Nx.Defn.jit(fun).(5)),
         Nx.to_number(Nx.Defn.jit(captured).(5)), Nx.to_number(Nx.Defn.jit(typed).(5))}
      end

      assert values.() == {11, 17, 10, 10, 10}
      helper(3)
      assert values.() == {16, 22, 15, 15, 15}
      caller(100)
      assert values.() == {115, 22, 15, 15, 15}
      # Other processes have not seen the change either.
      assert Task.await(Task.async(values)) == {115, 22, 15, 15, 15}
      helper(4)
      assert Task.await(Task.async(values)) == {120, 27, 20, 20, 20}
    end

    @tag :tmp_dir
    test "from a file", %{tmp_dir: dir} do
      write = fn name, body ->
        path = Path.join(dir, "#{name}.ex")
        File.write!(path, "defmodule Outrigger.Nx.FunctionsTest.#{name} do #{body} end")
        # The compiler warns about a module that exists already.
        module = Module.concat(__MODULE__, name)
        :code.purge(module)
        :code.delete(module)
        File.rm(Path.join(dir, "#{module}.beam"))
        {:ok, [^module], _} = Kernel.ParallelCompiler.compile_to_path([path], dir)
      end

      Code.prepend_path(dir)
      base = "Outrigger.Nx.FunctionsTest"
      write.("Far", "def factor, do: 2")
      write.("Near", "import Nx.Defn; defn scale(x), do: x * factor()
                      deftransform factor, do: #{base}.Far.factor()")
      write.("Top", "import Nx.Defn; defn run(x), do: #{base}.Near.scale(x)")
      run = fn -> Nx.to_number(apply(__MODULE__.Top, :run, [5])) end
      assert run.() == 10
      write.("Far", "def factor, do: 3")
      assert run.() == 15
      Code.delete_path(dir)
    end

    test "that nobody can know of: clear_cache/0, in all processes" do
      me = self()

      fun = fn x ->
        send(me, {:traced, self()})
        Nx.add(x, 1)
      end

      other =
        Task.async(fn ->
          for _ <- 1..2 do
            receive do: (:go -> send(me, {:value, Nx.to_number(Nx.Defn.jit(fun).(1))}))
          end
        end)

      call = fn ->
        send(other.pid, :go)
        assert_receive {:value, 2}
        assert Nx.to_number(Nx.Defn.jit(fun).(1)) == 2
      end

      call.()
      assert_received {:traced, _}
      refute_received {:traced, _}
      assert Outrigger.Nx.clear_cache() == :ok
      call.()
      assert_received {:traced, _}
    end
  end

  describe "closures" do
    test "that share parts, without end if these were copied" do
      shared = Enum.reduce(1..200, [1], fn _, a -> [a | a] end)
      jitted = Nx.Defn.jit(fn x -> if is_list(shared), do: Nx.add(x, 1) end)
      for x <- 1..3, do: assert(Nx.to_number(jitted.(x)) == x + 1)
      # As an option, which Nx puts into a closure of its own.
      jitted = Nx.Defn.jit(fn x, [_ | _] -> Nx.add(x, 1) end)
      for x <- 1..3, do: assert(Nx.to_number(jitted.(x, shared)) == x + 1)
    end

    test "that are equal are compiled once, in all processes; others are not" do
      me = self()

      jitted = fn captured ->
        Nx.Defn.jit(fn x ->
          send(me, :traced)
          Nx.add(x, captured)
        end)
      end

      call = fn captured -> jitted.(captured).(Nx.tensor([1.0])) |> Nx.to_binary() end
      float = &<<&1::float-32-native>>
      assert call.(2) == float.(3.0)
      assert_received :traced
      assert call.(2) == float.(3.0)
      assert Task.await(Task.async(fn -> call.(2) end)) == float.(3.0)
      refute_received :traced
      assert call.(2.0) == float.(3.0)
      assert_received :traced
      assert call.(3) == float.(4.0)
      assert_received :traced
      # 0.0 and -0.0 are one to `==`.
      zero = fn zero -> Nx.to_binary(Nx.Defn.jit(fn x -> Nx.multiply(x, zero) end).(1.0)) end
      assert zero.(0.0) != zero.(-0.0)
      assert zero.(0.0) == float.(0.0)
    end

    test "that captured much are known by the same process only, and are compiled once there" do
      me = self()
      large = Nx.broadcast(Nx.tensor(1, backend: Nx.BinaryBackend), {100_000})

      fun = fn x ->
        send(me, :traced)
        Nx.sum(Nx.add(x, large))
      end

      for x <- [0, 1, 2] do
        assert Nx.to_number(Nx.Defn.jit(fun).(x)) == (1 + x) * 100_000
      end

      assert_received :traced
      refute_received :traced
    end
  end

  describe "captured tensors" do
    setup do
      Outrigger.Nx.clear_cache()
      name = :"captured_#{System.unique_integer([:positive])}"
      start_supervised!({Outrigger, name: name, threads: 1, memory_limit: "100MiB"})
      Nx.default_backend({Backend, server: name})
      %{server: name}
    end

    # The earlier requests have ended by then, with or without an error.
    defp used(server) do
      Outrigger.sync(server)
      Outrigger.info!(server).memory.used
    end

    defp in_task(server, fun) do
      Task.async(fn -> Nx.with_default_backend({Backend, server: server}, fun) end)
    end

    # 4 MB each.
    defp batch(i), do: Nx.broadcast(Nx.tensor(i, backend: Nx.BinaryBackend), {1_000_000})

    defp sum_with(captured, x),
      do: Nx.to_number(Nx.Defn.jit(fn x -> Nx.sum(Nx.add(x, captured)) end).(x))

    test "of more functions than fit into memory: those used last stay", %{server: server} do
      for i <- 1..40, do: assert(sum_with(batch(i), 1) == (i + 1) * 1_000_000)
      # Half of the limit, and what buffers are rounded up by.
      assert used(server) <= 55 * 1024 * 1024
    end

    test "go with their process", %{server: server} do
      before = used(server)
      task = in_task(server, fn -> {sum_with(batch(1), 1), used(server)} end)
      {2_000_000, during} = Task.await(task)
      assert during - before >= 4_000_000

      wait_until(fn ->
        Outrigger.collect(server)
        used(server) - before < 1_000_000
      end)
    end

    test "are forgotten by clear_cache/0, and uploaded again", %{server: server} do
      captured = batch(3)
      before = used(server)
      assert sum_with(captured, 1) == 4_000_000
      assert used(server) - before >= 4_000_000
      Outrigger.Nx.clear_cache()
      Nx.to_number(Nx.Defn.jit(&Nx.add(&1, 1)).(1))
      assert sum_with(captured, 2) == 5_000_000
      assert used(server) - before < 5_000_000
    end

    test "an upload that failed is tried again", %{server: server} do
      captured = batch(1)
      jitted = Nx.Defn.jit(fn x -> Nx.sum(Nx.add(x, captured)) end)
      filler = Nx.iota({24 * 1024 * 1024}, type: :f32)
      assert used(server) > 100_000_000
      assert_raise Outrigger.Error, ~r/are needed/, fn -> Nx.to_number(jitted.(1)) end
      Nx.backend_deallocate(filler)
      assert Nx.to_number(jitted.(1)) == 2_000_000
      # In another process, too.
      assert Task.await(in_task(server, fn -> Nx.to_number(jitted.(1)) end)) == 2_000_000
    end

    test "make room when something else has none", %{server: server} do
      captured = batch(1)
      assert sum_with(captured, 1) == 2_000_000
      large = fn -> Nx.add(Nx.iota({99_000_000}, type: :u8), 1) |> Nx.sum() |> Nx.to_number() end
      assert_raise Outrigger.Error, fn -> large.() end
      assert sum_with(captured, 1) == 2_000_000
      assert used(server) < 10_000_000
    end

    # Calls a function with a captured tensor, then does nothing until it is told to call it again.
    defp sleeper(server) do
      me = self()
      captured = batch(1)

      sleeper =
        in_task(server, fn ->
          jitted = Nx.Defn.jit(fn x -> Nx.sum(Nx.add(x, captured)) end)
          Nx.to_number(jitted.(1))
          send(me, :ready)
          receive do: (:go -> Nx.to_number(jitted.(2)))
        end)

      assert_receive :ready, 10_000
      assert used(server) >= 4_000_000
      sleeper
    end

    test "also of processes that do nothing", %{server: server} do
      sleeper = sleeper(server)
      Captured.relieve()
      wait_until(fn -> used(server) < 1_000_000 end)
      send(sleeper.pid, :go)
      assert Task.await(sleeper) == 3_000_000
    end

    test "that were not used for long", %{server: server} do
      sleeper = sleeper(server)
      Captured.sweep(60_000)
      assert used(server) >= 4_000_000
      Captured.sweep(0)
      wait_until(fn -> used(server) < 1_000_000 end)
      send(sleeper.pid, :go)
      assert Task.await(sleeper) == 3_000_000
    end

    test "are there for the call that has taken them" do
      captured = Nx.broadcast(Nx.tensor(1, backend: Nx.BinaryBackend), {1_000})
      jitted = Nx.Defn.jit(fn x -> Nx.sum(Nx.add(x, captured)) end)

      others =
        for release <- [&Captured.relieve/0, fn -> Captured.sweep(0) end] do
          spawn_link(fn -> 1 |> Stream.interval() |> Enum.each(fn _ -> release.() end) end)
        end

      for x <- 1..300, do: assert(Nx.to_number(jitted.(x)) == (x + 1) * 1_000)
      for pid <- others, do: Process.unlink(pid) && Process.exit(pid, :kill)
    end
  end

  describe "the table of all processes" do
    test "is bounded in entries and in bytes" do
      max = fn key, value ->
        before = Application.get_env(:outrigger_nx, key)
        Application.put_env(:outrigger_nx, key, value)

        on_exit(fn ->
          if before,
            do: Application.put_env(:outrigger_nx, key, before),
            else: Application.delete_env(:outrigger_nx, key)
        end)
      end

      max.(:cache_bytes_max, 1_000_000)
      for i <- 1..200, do: Cache.put({__MODULE__, i}, :binary.copy(<<i>>, 20_000))
      wait_until(fn -> Cache.stats().bytes <= 1_000_000 end)
      # The latest stay.
      assert Cache.lookup({__MODULE__, 200}) != nil
      assert Cache.lookup({__MODULE__, 1}) == nil
      max.(:cache_entries_max, 10)
      Cache.put({__MODULE__, 201}, 1)
      wait_until(fn -> Cache.stats().size <= 10 end)
      assert Cache.lookup({__MODULE__, 201}) == 1
      Outrigger.Nx.clear_cache()
      assert %{size: 0, bytes: 0} = Cache.stats()
    end
  end
end

defmodule Outrigger.TwoServersTest do
  # Two servers give the same handles and the same ids of programs: whatever is given tensors of
  # both must refuse them, and never take one for the other.
  use Outrigger.DaemonCase, async: true

  alias Outrigger.{Catalogue, Signature, Tensor}

  setup do
    {s, t} = {start_server(log: :none), start_server(log: :none)}
    x = Outrigger.tensor(s, [10, 20, 30])
    y = Outrigger.tensor(t, [1, 2, 3])
    assert x.handle == y.handle
    %{s: s, t: t, x: x, y: y}
  end

  # A function that waits returns the error. Any other function raises the error.
  defp assert_foreign(what, fun) do
    with {:error, error} <- fun.(), do: raise(error)
    flunk("#{what} took tensors of two servers")
  rescue
    error in ConnectionError ->
      assert {what, error.reason} == {what, :foreign_tensor}

      assert Exception.message(error) =~
               ~r/#Outrigger.Tensor<.*> of :server_\d+ is used on :server_/
  end

  defp assert_foreign_error(result) do
    assert {:error, %ConnectionError{reason: :foreign_tensor}} = result
  end

  # The attributes of an op do not matter here, because the operands are checked first.
  @samples %{
    "int" => 1,
    "ints" => [1],
    "shape" => {1},
    "number" => 1,
    "bool" => true,
    "string" => "x",
    "dtype" => :f32,
    "binary" => ""
  }

  @by_hand ~w(while cond reduce window_reduce map call kernel)

  # Calls of an op's function, one for each way to give two of its operands tensors of two servers.
  defp mixed_calls(module, op, x, y) do
    signature = Signature.of(op)

    many =
      for %{"kind" => "many"} = operand <- op["operands"], do: String.to_atom(operand["name"])

    names = for operand <- op["operands"], do: String.to_atom(operand["name"])
    attrs = Map.new(op["attrs"], &{String.to_atom(&1["name"]), &1})

    options =
      for {name, %{"required" => true, "type" => type}} <- attrs,
          name not in Keyword.keys(signature.positional),
          do: {name, @samples[type]}

    # A place for each operand, two for the last one if it stands for many.
    places = for name <- names, at <- if(name in many, do: [0, 1], else: [0]), do: {name, at}

    for place <- tl(places), {first, second} <- [{x, y}, {y, x}] do
      args =
        for name <- signature.args do
          value = fn at -> if {name, at} == place, do: second, else: first end

          cond do
            name in many -> [value.(0), value.(1)]
            name in names -> value.(0)
            attr = attrs[signature.positional[name] && name] -> @samples[attr["type"]]
          end
        end

      options = if signature.options?, do: [options], else: []
      {place, fn -> apply(module, String.to_atom(op["name"]), args ++ options) end}
    end
  end

  defmodule Kernels do
    use Outrigger.Kernel

    defkernel add_to(x :: mut(s64[n]), y :: s64[n]) do
      for i <- 0..(n - 1), do: x[i] = x[i] + y[i]
    end
  end

  test "a kernel", %{x: x, y: y, s: s, t: t} do
    call = fn -> Kernels.add_to(x, y) end
    assert_foreign("a kernel", call)
    program = Outrigger.program(call)
    assert_foreign("a kernel", fn -> Outrigger.run(s, program, []) end)
    assert_foreign("a kernel", fn -> Outrigger.run(t, program, []) end)
    assert Outrigger.to_list!(x) == [10, 20, 30]
  end

  test "each op of the catalogue that takes several tensors", %{x: x, y: y, s: s, t: t} do
    several =
      for op <- Catalogue.ops(),
          length(op["operands"]) > 1 or Enum.any?(op["operands"], &(&1["kind"] == "many")),
          op["name"] not in @by_hand,
          do: op

    assert length(several) > 40
    assert Enum.all?(several, &(&1["regions"] == []))

    checked =
      for op <- several,
          module <- [Op | if(op["in_place"], do: [InPlace], else: [])],
          {place, call} <- mixed_calls(module, op, x, y),
          what = "#{inspect(module)}.#{op["name"]}, #{inspect(place)}" do
        assert_foreign(what, call)
        # Captured in a program, on the server of either.
        program = Outrigger.program(fn -> call.() end)
        assert_foreign(what, fn -> Outrigger.run(s, program, []) end)
        assert_foreign(what, fn -> Outrigger.run(t, program, []) end)
        assert_foreign_error(Outrigger.prepare(s, program))
        what
      end

    assert length(checked) > 150
    assert Outrigger.to_list!(x) == [10, 20, 30]
    assert Outrigger.to_list!(y) == [1, 2, 3]
    assert Outrigger.sync(s) == :ok and Outrigger.sync(t) == :ok
  end

  test "ops with regions, whose functions capture tensors", %{x: x, y: y} do
    regions = for %{"regions" => [_ | _]} = op <- Catalogue.ops(), do: op["name"]
    assert Enum.sort(regions) == Enum.sort(@by_hand -- ["call", "kernel"])
    one = Op.slice(x, [0], [1]) |> Op.squeeze()
    loop = fn i -> Op.subtract(i, Op.sum(y)) end

    for {name, call} <- [
          while: fn -> Op.while({one, y}, fn {i, _} -> i end, fn {i, y} -> {i, y} end) end,
          while: fn -> Op.while(one, fn i -> Op.greater(i, Op.sum(y)) end, & &1) end,
          while: fn -> Op.while(one, & &1, loop) end,
          cond: fn -> Op.cond(one, fn -> x end, fn -> y end) end,
          cond: fn -> Op.cond(one, fn -> y end, fn -> Op.add(y, 1) end) end,
          reduce: fn -> Op.reduce(x, Op.sum(y), &Op.add/2) end,
          reduce: fn -> Op.reduce(x, 0, fn a, b -> Op.add(Op.add(a, b), Op.sum(y)) end) end,
          window_reduce: fn -> Op.window_reduce(x, Op.sum(y), {2}, &Op.add/2) end,
          map: fn -> Op.map(x, &Op.add(&1, Op.sum(y))) end
        ],
        do: assert_foreign(name, call)
  end

  test "programs, their arguments, their captures, and donated tensors", context do
    %{s: s, t: t, x: x, y: y} = context
    program = Outrigger.program(&Op.add/2)
    prepared = Outrigger.prepare!(s, program)

    for args <- [[x, y], [y, x], [y, y]],
        {name, call} <- [
          run: &Outrigger.run(s, program, &1),
          call: &Outrigger.call(prepared, &1),
          call_and_wait: &Outrigger.call_and_wait(prepared, &1),
          profile: &Outrigger.profile(prepared, &1),
          op_call: &Op.call(prepared, &1)
        ],
        do: assert_foreign(name, fn -> call.(args) end)

    # The daemon would take the handle for that of `x`, and release that.
    for call <- [&Outrigger.run(s, program, &1, &2), &Outrigger.call(prepared, &1, &2)],
        do: assert_foreign("donated", fn -> call.([x, x], donated: [y]) end)

    captures = Outrigger.program(fn -> Op.multiply(y, 2) end)
    assert_foreign("captured", fn -> Outrigger.run(s, captures, []) end)
    assert_foreign_error(Outrigger.prepare(s, captures))
    assert [2, 4, 6] = Outrigger.run(t, captures, []) |> Outrigger.to_list!()

    returns = Outrigger.program(fn -> {x, y} end)
    assert_foreign("returned", fn -> Outrigger.run(s, returns, []) end)

    calls = Outrigger.program(fn -> Op.call(prepared, [x, y]) end)
    assert_foreign("called", fn -> Outrigger.run(s, calls, []) end)
    assert Outrigger.to_list!(x) == [10, 20, 30]
  end

  test "prepared programs of two servers with the same id", %{s: s, t: t, x: x} do
    [plus, minus] =
      for {server, op} <- [{s, &Op.add/2}, {t, &Op.subtract/2}],
          do: Outrigger.prepare!(server, Outrigger.program(op))

    assert plus.id == minus.id
    both = Outrigger.program(fn x -> Op.call(minus, [Op.call(plus, [x, 1]), 1]) end)

    for server <- [s, t] do
      refused = ~r/prepared on another server/
      assert_raise ArgumentError, refused, fn -> Outrigger.run(server, both, [x]) end
      assert_raise ArgumentError, refused, fn -> Outrigger.prepare(server, both) end
    end
  end

  test "save_npz", %{x: x, y: y} do
    path = Path.join(System.tmp_dir!(), "outrigger_two_#{System.unique_integer([:positive])}.npz")
    assert_foreign_error(Outrigger.save_npz([x: x, y: y], path))
    assert_raise ConnectionError, fn -> Outrigger.save_npz!(%{x: x, y: y}, path) end
    refute File.exists?(path)
  end

  test "release, await and containers of tensors of both", %{s: s, t: t, x: x, y: y} do
    assert Outrigger.await!(%{x: x, y: [y]}) == %{x: x, y: [y]}
    kept = Outrigger.tensor(t, [4])
    assert Outrigger.release({x, [y]}) == :ok

    for tensor <- [x, y],
        do: assert({:error, %Error{code: :bad_handle}} = Outrigger.to_list(tensor))

    assert Outrigger.to_list!(kept) == [4]
    assert Outrigger.info!(s).tensors == 0 and Outrigger.info!(t).tensors == 1
  end

  test "a scope keeps its returned tensors, and no tensor of another server" do
    {s, t} = {start_server(), start_server()}

    kept =
      Outrigger.scope(s, fn ->
        {x, y} = {Outrigger.tensor(s, [1]), Outrigger.tensor(t, [2])}
        assert x.handle == y.handle
        x
      end)

    assert Outrigger.to_list!(kept) == [1]
    Outrigger.sync!(t)
    assert Outrigger.info!(s).tensors == 1 and Outrigger.info!(t).tensors == 0
  end

  test "a tensor of another VM is foreign in every function", %{s: s, x: x} do
    {:ok, peer, _node} = :peer.start_link(%{connection: :standard_io, wait_boot: 30_000})
    :peer.call(peer, :code, :add_paths, [:code.get_path()])
    {:ok, _} = :peer.call(peer, Application, :ensure_all_started, [:outrigger], 30_000)
    script = "{:ok, _} = Outrigger.start_link(name: Elsewhere, threads: 1, log: :none)
      Elsewhere |> Outrigger.tensor([1]) |> Outrigger.await!() |> :erlang.term_to_binary()"
    {binary, _} = :peer.call(peer, Code, :eval_string, [script], 30_000)
    foreign = :erlang.binary_to_term(binary)
    add = Outrigger.prepare!(s, Outrigger.program(&Op.add/2))

    for call <- [
          fn -> Outrigger.to_list!(foreign) end,
          fn -> Outrigger.shape!(foreign) end,
          fn -> Outrigger.await!([foreign]) end,
          fn -> Outrigger.info!(foreign) end,
          fn -> Outrigger.release(foreign) end,
          fn -> Outrigger.save_npy!(foreign, "/tmp/foreign.npy") end,
          fn -> Outrigger.save_npz!([x: foreign], "/tmp/foreign.npz") end,
          fn -> Op.negate(foreign) end,
          fn -> Op.add(x, foreign) end,
          fn -> Op.add(foreign, x) end,
          fn -> InPlace.add(foreign, 1) end,
          fn -> Outrigger.call(add, [x, foreign]) end
        ] do
      error = assert_raise ConnectionError, call
      assert error.reason == :foreign_tensor
    end

    assert inspect(foreign) =~ "another VM"
    refute Outrigger.cancel(foreign)
    :peer.stop(peer)
  end

  test "a tensor of a daemon that is gone is stale, beside a new one and in all lists" do
    server = start_server(log: :none)
    old = Outrigger.tensor(server, [1, 2])
    kill(os_pid(server), "KILL")
    eventually(fn -> Tensor.check(old) != :ok end)
    :ok = Outrigger.await_ready(server)
    new = Outrigger.tensor(server, [3, 4])
    program = Outrigger.program(&Op.add/2)
    captures = Outrigger.program(fn x -> Op.add(x, old) end)
    path = Path.join(System.tmp_dir!(), "outrigger_stale.npz")

    for call <- [
          fn -> Op.add(new, old) end,
          fn -> InPlace.add(new, old) end,
          fn -> Outrigger.run(server, program, [new, old]) end,
          fn -> Outrigger.run(server, captures, [new]) end,
          fn -> Outrigger.run(server, program, [new, new], donated: [old]) end,
          fn -> Outrigger.prepare!(server, captures) end,
          fn -> Outrigger.save_npz!([new: new, old: old], path) end
        ] do
      error = assert_raise ConnectionError, call
      assert error.reason == :stale_epoch
    end

    assert Outrigger.release([old, new]) == :ok
  end
end

defmodule Outrigger.KeptPrograms do
  @moduledoc false
  # The programs and kernels that the daemon keeps for a connection. The connection decides which
  # ones, and sends each of them before the first call. `programs` of Outrigger.Traffic has their
  # ids, `{:kernel, id}` for a kernel, with the time of the last use and the bytes.

  alias Outrigger.{ConnectionError, Outcome, Server, Traffic}

  # The bytes of a long program become a tensor under this handle. The callers' handles begin at
  # 256.
  @program_handle 1
  # The limit of a session (protocol/KERNELS.md). `programs_max` does not count kernels.
  @kernels_max 1024

  # The daemon keeps the callees of a program that runs at once, but not the program. To make room
  # for one of `needed` takes no other one of them away.
  def keep(t, program, needed \\ MapSet.new())
  def keep(t, {0, _encoded, callees}, needed), do: keep_all(t, callees, needed)

  def keep(t, {program_id, _encoded, _callees} = program, needed) do
    if is_map_key(t.programs, program_id),
      do: used(t, program_id),
      else: prepare(t, program, nil, needed)
  end

  defp keep_all(t, [], _needed), do: t

  defp keep_all(t, programs, needed) do
    needed = Enum.reduce(programs, needed, &MapSet.put(&2, elem(&1, 0)))
    Enum.reduce(programs, t, &keep(&2, &1, needed))
  end

  @doc "Notes a use of a program that the daemon keeps."
  # The program of the last call needs no update.
  def used(%{programs: programs, tick: tick} = t, program_id)
      when elem(:erlang.map_get(program_id, programs), 0) == tick,
      do: t

  def used(t, program_id) do
    {_, bytes} = Map.fetch!(t.programs, program_id)
    put_program(t, program_id, bytes)
  end

  defp put_program(t, program_id, bytes) do
    tick = t.tick + 1
    %{t | tick: tick, programs: Map.put(t.programs, program_id, {tick, bytes})}
  end

  @doc "The daemon does not keep the program any more, or has never had it."
  def drop_program(t, program_id) do
    case Map.pop(t.programs, program_id) do
      {nil, _} -> t
      {{_tick, bytes}, programs} -> %{t | programs: programs, kept: t.kept - bytes}
    end
  end

  # The bytes that the daemon may count for a program, at most: an operand of one byte takes 32.
  defp kept_bytes(encoded), do: 4096 + 32 * byte_size(encoded)

  # The daemon evicts programs and kernels by itself when they exceed its limits. The client makes
  # room before, so it knows which ones the daemon keeps, unless other sessions push them out.
  defp make_room(t, id, bytes, needed) do
    cond do
      too_many?(t, id) -> evict_one(t, id, bytes, needed, &(kernel?(&1) == kernel?(id)))
      t.kept + bytes > t.limits.kept -> evict_one(t, id, bytes, needed, fn _ -> true end)
      true -> t
    end
  end

  defp too_many?(t, id) do
    most = if kernel?(id), do: @kernels_max, else: t.limits.programs_max

    map_size(t.programs) >= most and
      Enum.count(t.programs, fn {other, _} -> kernel?(other) == kernel?(id) end) >= most
  end

  defp kernel?(id), do: is_tuple(id)

  defp evict_one(t, id, bytes, needed, of_kind?) do
    candidates =
      for {other, {tick, _bytes}} <- t.programs,
          of_kind?.(other) and not MapSet.member?(needed, other),
          do: {tick, other}

    if candidates == [],
      do: t,
      else: t |> evict(candidates) |> make_room(id, bytes, needed)
  end

  @doc "Prepares a program of Program.kept/3 for a caller that waits for the reply."
  def prepare(t, program, ref, needed \\ MapSet.new())

  def prepare(%{epoch: 0} = t, _program, ref, _needed) do
    Outcome.answer(ref, {:error, %ConnectionError{reason: :not_connected}})
    t
  end

  # The daemon must have the callees before the program.
  def prepare(t, {program_id, encoded, callees}, ref, needed) do
    bytes = kept_bytes(encoded)
    t = keep_all(t, callees, needed)
    needed = Enum.reduce(callees, needed, &MapSet.put(&2, elem(&1, 0)))
    t = make_room(t, program_id, bytes, needed)
    t = put_program(%{t | kept: t.kept + bytes}, program_id, bytes)
    want = {:prepare, program_id, ref}

    send_program(t, program_id, encoded, want)
  end

  defp send_program(t, {:kernel, id}, encoded, want),
    do: Traffic.own(t, "define_kernel", [{"kernel_id", id}, {"unit", {:raw, encoded}}], want)

  defp send_program(t, program_id, encoded, want) do
    if byte_size(encoded) > t.limits.part_bytes,
      do: prepare_in_parts(t, program_id, encoded, want),
      else:
        Traffic.own(
          t,
          "prepare",
          [{"program_id", program_id}, {"program", {:raw, encoded}}],
          want
        )
  end

  # No part needs a reply: the reply to the last request reports an error in any part.
  defp prepare_in_parts(t, program_id, encoded, want) do
    size = byte_size(encoded)
    part = t.limits.part_bytes
    constant = [{"handle", @program_handle}, {"dtype", "u8"}, {"shape", [size]}]

    t =
      Enum.reduce(0..(size - 1)//part, t, fn offset, t ->
        data = {:bin, binary_part(encoded, offset, min(part, size - offset))}
        Traffic.own(t, "upload", constant ++ [{"offset", offset}, {"data", data}], :drop)
      end)

    t
    |> Traffic.own("prepare", [{"program_id", program_id}, {"handle", @program_handle}], want)
    |> Traffic.own("release", [{"handles", [@program_handle]}], :drop)
  end

  # A direct call counts as a use of its program, if its caller has written it or will write it:
  # the daemon must not forget the program before. After the port is withdrawn, no new direct call
  # comes.
  defp evict(t, candidates) do
    {_tick, oldest} = first = Enum.min(candidates)
    Server.withdraw_port(t.meta, oldest)

    if Traffic.called_directly?(t, oldest) and tl(candidates) != [] do
      Traffic.offer_port(t, oldest)
      t |> used(oldest) |> evict(List.delete(candidates, first))
    else
      t |> drop_program(oldest) |> forget(oldest)
    end
  end

  def forget(t, {:kernel, id}), do: Traffic.own(t, "forget_kernel", [{"kernel_id", id}], :drop)
  def forget(t, program_id), do: Traffic.own(t, "forget", [{"program_id", program_id}], :drop)

  @doc """
  The daemon does not have a program or a kernel that it should have, because other sessions needed
  the room: the next call of each of them sends it again.
  """
  def drop_programs(t) do
    Enum.reduce(Map.keys(t.programs), t, fn id, t ->
      Server.withdraw_port(t.meta, id)
      drop_program(t, id)
    end)
  end
end

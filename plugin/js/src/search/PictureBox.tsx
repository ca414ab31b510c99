import React, { PointerEvent, useEffect, useRef, useState } from "react";
import { Picture } from "../server/types";
import { Call } from "../server/useServer";
import { Plain } from "../page/controls";

const TYPES = "image/jpeg,image/png,image/webp,image/bmp";
const LEAST = 0.01;

interface Props {
  call: Call;
  picture: Picture | null;
  onChange: (picture: Picture | null) => void;
  onError: (error: Error) => void;
}

/** A picture to search with, and a box drawn on it with the mouse. */
export function PictureBox({ call, picture, onChange, onError }: Props) {
  const [preview, setPreview] = useState<string | null>(null);
  const token = picture?.token;
  useEffect(() => {
    setPreview(null);
    if (token) call<{ preview: string }>("preview", { token }).then((answer) => setPreview(answer.preview), onError);
  }, [call, token, onError]);

  const upload = async (file: File | undefined) => {
    if (!file) return;
    try {
      const content = await asBase64(file);
      const { token } = await call<{ token: string }>("upload", { content });
      onChange({ token, box: null });
    } catch (error) {
      onError(error as Error);
    }
  };
  return (
    <div style={{ paddingTop: 8 }} onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => { event.preventDefault(); void upload(event.dataTransfer.files[0]); }}>
      <label style={{ fontSize: 13 }}>
        A picture to search with (or drop one here):{" "}
        <input type="file" accept={TYPES} onChange={(event) => void upload(event.target.files?.[0])} />
      </label>
      {picture && preview && (
        <>
          <DrawnBox url={preview} box={picture.box} onChange={(box) => onChange({ token: picture.token, box })} />
          <div style={{ display: "flex", gap: 6, alignItems: "center", fontSize: 13 }}>
            Draw a box around what to look for.
            {picture.box && <Plain onClick={() => onChange({ ...picture, box: null })}>The whole picture</Plain>}
            <Plain onClick={() => onChange(null)}>Search without it</Plain>
          </div>
        </>
      )}
    </div>
  );
}

interface DrawnProps {
  url: string;
  box: number[] | null;
  onChange: (box: number[]) => void;
}

function DrawnBox({ url, box, onChange }: DrawnProps) {
  const [start, setStart] = useState<[number, number] | null>(null);
  const [drawn, setDrawn] = useState<number[] | null>(null);
  const image = useRef<HTMLImageElement>(null);
  const at = (event: PointerEvent): [number, number] => {
    const { left, top, width, height } = image.current!.getBoundingClientRect();
    const within = (value: number) => Math.min(Math.max(value, 0), 1);
    return [within((event.clientX - left) / width), within((event.clientY - top) / height)];
  };
  const now = drawn ?? box;
  return (
    <div style={{ position: "relative", display: "inline-block", touchAction: "none", cursor: "crosshair" }}
      data-drawing
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        setStart(at(event));
      }}
      onPointerMove={(event) => {
        if (!start) return;
        const [x, y] = at(event);
        setDrawn([Math.min(x, start[0]), Math.min(y, start[1]), Math.abs(x - start[0]), Math.abs(y - start[1])]);
      }}
      onPointerUp={() => {
        if (drawn && drawn[2]! > LEAST && drawn[3]! > LEAST) onChange(drawn.map((number) => Number(number.toFixed(4))));
        setStart(null);
        setDrawn(null);
      }}>
      <img ref={image} src={url} alt="the picture to search with" draggable={false}
        style={{ display: "block", maxHeight: 220, maxWidth: "100%" }} />
      {now && (
        <div style={{ position: "absolute", border: "2px solid #ff00a0", pointerEvents: "none",
          left: `${now[0]! * 100}%`, top: `${now[1]! * 100}%`, width: `${now[2]! * 100}%`, height: `${now[3]! * 100}%` }} />
      )}
    </div>
  );
}

function asBase64(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",", 2)[1] ?? "");
    reader.onerror = () => reject(new Error(`${file.name} could not be read`));
    reader.readAsDataURL(file);
  });
}

/** Plain rules in place of styled components: hundreds of tiles are drawn at once, and a dozen buttons at each answer. */
export const STYLE = `
.alphaclip-plain { flex: none; max-width: 360px; padding: 2px 8px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis;
  font: 500 .8125rem/1.75 var(--fo-fontFamily-body); border: 1px solid #00000080; border-radius: 4px; background: none;
  color: var(--fo-palette-text-primary); cursor: pointer; transition: background-color .25s, border-color .25s; }
.alphaclip-plain:hover { border-color: var(--fo-palette-primary-main); background: #0000000a; }
.alphaclip-plain:focus-visible { outline: 2px solid #2f9bff; }
.alphaclip-plain[data-on] { border: 0; background: var(--fo-palette-primary-main); color: var(--fo-palette-text-buttonHighlight);
  box-shadow: 0 3px 1px -2px #0003, 0 2px 2px #00000024, 0 1px 5px #0000001f; }
.alphaclip-plain[data-on]:hover { background: var(--fo-palette-primary-dark); }
.alphaclip-plain:disabled { pointer-events: none; color: var(--fo-palette-action-disabled);
  border-color: var(--fo-palette-action-disabledBackground); }
.alphaclip-plain[data-on]:disabled { background: var(--fo-palette-action-disabledBackground); box-shadow: none; }
.alphaclip-gallery { position: relative; flex: 1; min-height: 120px; overflow-y: auto; outline: none; user-select: none; }
.alphaclip-tile { position: relative; }
.alphaclip-tile > button { display: block; padding: 0; border: 3px solid; border-radius: 4px; overflow: hidden;
  background: var(--fo-palette-background-level2, #8884); cursor: pointer; color: inherit; }
.alphaclip-tile > button:focus-visible, .alphaclip-tile > button:focus { outline: 2px solid #2f9bff; outline-offset: -5px; }
.alphaclip-tile img { display: block; width: 100%; height: 100%; object-fit: contain; }
.alphaclip-tile b { position: absolute; left: 5px; top: 5px; border-radius: 3px; padding: 0 5px; color: #fff; font-size: 12px; }
.alphaclip-tile small { display: block; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; font-size: 12px; line-height: 20px; }
.alphaclip-tile i { font-style: normal; opacity: .65; }
.alphaclip-tile em { font-style: normal; margin-left: 4px; padding: 0 4px; border-radius: 3px; background: #ff6d0433; }
.alphaclip-marks { position: absolute; right: 5px; top: 5px; display: none; gap: 2px; }
.alphaclip-tile:hover .alphaclip-marks { display: flex; }
.alphaclip-marks button { width: 24px; height: 24px; border: 0; border-radius: 3px; cursor: pointer; background: #000a; color: #fff; }
.alphaclip-marks button:hover { background: #000; }
.alphaclip-drag { position: absolute; border: 1px solid #ff6d04; background: #ff6d0422; pointer-events: none; z-index: 2; }
.alphaclip-large { position: fixed; z-index: 1300; pointer-events: none; border-radius: 6px; box-shadow: 0 4px 24px #000a; max-width: 400px; }
`;

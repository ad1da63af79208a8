import express from "express";

// In memory, to keep the example small: a restart forgets them. Keep yours in a database.
const notes = [];

export const router = express.Router();

router.get("/", (_request, response) => {
  response.json(notes);
});

router.post("/", (request, response) => {
  const text = typeof request.body?.text === "string" ? request.body.text.trim() : "";
  if (text === "" || text.length > 2000) {
    response.status(422).json({ error: "text has to have 1 to 2000 characters" });
    return;
  }
  const note = { id: notes.length + 1, text, createdAt: new Date() };
  notes.push(note);
  response.status(201).json(note);
});
